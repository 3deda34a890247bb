// A pod that is a machine, on the real containerd, shim, trined and QEMU: what a user of kubectl sees.
import { once } from "node:events";
import { readFile, rename } from "node:fs/promises";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { pollUntil, withDeadline } from "@trine/base";
import { type RunningPod, TrineNode, busyboxImage, tinyGuestImage } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const VERSIONS = ["1.6", "2.4"] as const;
const BOOT_MS = 90_000;
const READY = /TINY-GUEST READY ip=(\S+)/;

describe.each(VERSIONS)("a machine as a pod of containerd %s", (version) => {
  let node: TrineNode;
  let tiny: string;
  let busybox: string;

  beforeAll(async () => {
    const images = [await tinyGuestImage(), await busyboxImage()] as const;
    [tiny, busybox] = [images[0].name, images[1].name];
    node = await TrineNode.start({ version });
    for (const image of images) await node.containerd.importImage(image);
  }, 1_800_000);

  afterAll(async () => {
    expect(await node.stop()).toEqual([]);
  });

  const runtime = (): TrineNode["containerd"]["cri"]["runtime"] => node.containerd.cri.runtime;

  async function machine(
    name: string,
    options: { annotations?: Record<string, string>; tty?: boolean; stdin?: boolean } = {},
  ): Promise<RunningPod> {
    const { annotations, ...rest } = options;
    return node.run({
      name,
      image: tiny,
      annotations: { "trine.dev/memory": "128Mi", ...annotations },
      ...rest,
    });
  }

  async function exec(
    pod: RunningPod,
    ...cmd: string[]
  ): Promise<{ exitCode: number; stdout: string; stderr: string }> {
    const answer = await runtime().execSync({ containerId: pod.containerId, cmd, timeout: 30n });
    const decode = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
    return {
      exitCode: answer.exitCode,
      stdout: decode(answer.stdout),
      stderr: decode(answer.stderr),
    };
  }

  test("reports the pod's address at once and gives it to the guest", async () => {
    const pod = await machine("address");
    expect(pod.ip).toMatch(/^10\.213\./);
    const output = await node.untilOutput(pod, READY, BOOT_MS);
    expect(READY.exec(output)?.[1]).toContain(pod.ip);
    await node.remove(pod);
  });

  test("runs exec in the guest, with output and exit status", async () => {
    const pod = await machine("exec");
    await node.untilOutput(pod, READY, BOOT_MS);
    const answer = await exec(pod, "/bin/sh", "-c", "echo out; echo err >&2; exit 7");
    expect(answer).toEqual({ exitCode: 7, stdout: "out\n", stderr: "err\n" });
    const tty = node.containerd.cri.exec({
      containerId: pod.containerId,
      cmd: ["/bin/sh"],
      tty: true,
      stdin: true,
      stdout: true,
    });
    await expect(
      tty.then(async (session) => {
        session.stdout?.resume();
        return session.exit;
      }),
    ).rejects.toThrow(/terminal/);
    await node.remove(pod);
  });

  test("other pods reach it, it reaches them, port-forward reaches its port", async () => {
    const serve = "mkdir /www; echo from-runc >/www/index.html; exec httpd -f -p 8080 -h /www";
    const web = await node.run({
      name: "web",
      image: busybox,
      handler: "",
      command: ["sh", "-c", serve],
    });
    const pod = await machine("traffic");
    await node.untilOutput(pod, READY, BOOT_MS);

    const inside = await exec(pod, "/bin/sh", "-c", `wget -qO- http://${web.ip}:8080/`);
    expect(inside).toMatchObject({ exitCode: 0, stdout: "from-runc\n" });
    const outside = await exec(web, "sh", "-c", `wget -qO- http://${pod.ip}:8080/`);
    expect(outside.exitCode).toBe(0);
    expect(outside.stdout).toContain("traffic");

    const forward = await node.containerd.cri.portForward(pod.podSandboxId);
    const connection = forward.connect(8080);
    connection.end("GET / HTTP/1.0\r\n\r\n");
    expect(await withDeadline("port-forward", 20_000, text(connection))).toContain("traffic");
    // A service on the guest's own loopback is out of reach without an agent of ours in the guest.
    const loopback = forward.connect(8081);
    const refused = once(loopback, "error").then(([cause]) => (cause as Error).message);
    expect(await withDeadline("port 8081 is refused", 20_000, refused)).toMatch(
      /refused|reset|closed/i,
    );
    forward.close();
    await node.remove(pod);
    await node.remove(web);
  });

  test("attach is the serial console; the log rotates without a lost line", async () => {
    const pod = await machine("attach", { tty: true, stdin: true });
    await node.untilOutput(pod, READY, BOOT_MS);
    const { containerId } = pod;
    const session = await node.containerd.cri.attach({
      containerId,
      tty: true,
      stdin: true,
      stdout: true,
    });
    session.stdout?.resume();
    session.stdin?.write("echo before-$((40+2))\n");
    await node.untilOutput(pod, "before-42");
    await rename(pod.log, `${pod.log}.1`);
    await runtime().reopenContainerLog({ containerId });
    session.stdin?.write("echo after-$((40+3))\n");
    await node.untilOutput(pod, "after-43");
    expect(await readFile(`${pod.log}.1`, "utf8")).toContain("before-42");
    session.close();
    await node.remove(pod);
  });

  test("stop presses the power button; the exit status is the guest's doing", async () => {
    const pod = await machine("stop");
    await node.untilOutput(pod, READY, BOOT_MS);
    await runtime().stopContainer(
      { containerId: pod.containerId, timeout: 60n },
      { timeoutMs: 90_000 },
    );
    expect(await node.ended(pod)).toMatchObject({ exitCode: 0, reason: "Completed" });
    expect(await node.output(pod)).toContain("TINY-GUEST POWER BUTTON");
    await node.remove(pod);
  });

  test(
    "a stop without grace kills it, and another container of the pod starts on a fresh disk; the console log survives rotation, container and pod",
    async () => {
      const pod = await machine("again");
      await node.untilOutput(pod, READY, BOOT_MS);
      const rotated = { ...pod, log: `${pod.log}.1` };
      await rename(pod.log, rotated.log); // kubelet's way
      await runtime().reopenContainerLog({ containerId: pod.containerId });
      await runtime().stopContainer({ containerId: pod.containerId, timeout: 0n });
      expect(await node.ended(pod)).toMatchObject({ exitCode: 137, reason: "Error" });
      await runtime().removeContainer({ containerId: pod.containerId });

      const { status } = await runtime().podSandboxStatus({ podSandboxId: pod.podSandboxId });
      const config = node.containerd.podConfig({ name: "again" });
      const second = await runtime().createContainer({
        podSandboxId: pod.podSandboxId,
        sandboxConfig: { ...config, logDirectory: pod.log.replace(/\/main\.log$/, "") },
        config: {
          metadata: { name: "main", attempt: 1 },
          image: { image: tiny },
          command: ["machine"],
          logPath: "second.log",
        },
      });
      await runtime().startContainer({ containerId: second.containerId });
      const again = { ...pod, ...second, log: pod.log.replace("main.log", "second.log") };
      expect(READY.exec(await node.untilOutput(again, READY, BOOT_MS))?.[1]).toContain(
        status?.network?.ip,
      );
      const { items } = JSON.parse((await node.api("/v1/pods")).body) as {
        items: { name: string; machine?: { consoleLog?: string } }[];
      };
      const whole = items.find((item) => item.name === "again")?.machine?.consoleLog ?? "";
      expect((await readFile(whole, "utf8")).match(/TINY-GUEST READY/g)).toHaveLength(2);
      await node.remove(pod);
      for (const each of [rotated, again]) expect(await node.output(each)).toMatch(READY);
    },
    4 * BOOT_MS,
  );

  test("stats are the guest's: memory within what it was given, vCPU time that grows", async () => {
    const pod = await machine("stats");
    await node.untilOutput(pod, READY, BOOT_MS);
    const read = async (): Promise<{ cpu: bigint; memory: bigint }> => {
      const { stats } = await runtime().containerStats({ containerId: pod.containerId });
      return {
        cpu: stats?.cpu?.usageCoreNanoSeconds?.value ?? 0n,
        memory: stats?.memory?.workingSetBytes?.value ?? 0n,
      };
    };
    const first = await read();
    expect(first.cpu).toBeGreaterThan(0n);
    const used = await pollUntil("the balloon reports", { ms: 60_000, everyMs: 500 }, async () => {
      const { memory } = await read();
      return memory > 0n && memory < 128n * 1024n * 1024n ? memory : undefined;
    });
    expect(used).toBeGreaterThan(8n * 1024n * 1024n);
    await exec(pod, "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
    expect((await read()).cpu).toBeGreaterThan(first.cpu);
    const { body } = await node.api("/metrics");
    const figure = (name: string): number =>
      Number(new RegExp(`^${name}{[^}]*pod="stats"} (\\S+)$`, "m").exec(body)?.[1]);
    expect(figure("trine_machine_disk_read_bytes")).toBeGreaterThan(1024 * 1024);
    expect(figure("trine_machine_network_sent_bytes")).toBeGreaterThan(100);
    expect(figure("trine_machine_host_vmm_bytes")).toBeGreaterThan(16 * 1024 * 1024);
    expect(figure("trine_machine_host_shim_bytes")).toBeGreaterThan(100 * 1024);
    await node.remove(pod);
  });

  test("a display answers as VNC on a socket of the machine's own directory", async () => {
    const pod = await machine("display", { annotations: { "trine.dev/display": "on" } });
    const { items } = JSON.parse((await node.api("/v1/pods")).body) as {
      items: { name: string; machine?: { vncSocket?: string } }[];
    };
    const path = items.find((item) => item.name === "display")?.machine?.vncSocket ?? "";
    const socket = connect(path);
    const [greeting] = (await withDeadline("VNC greets", 20_000, once(socket, "data"))) as [Buffer];
    expect(greeting.toString()).toMatch(/^RFB 003\./);
    socket.destroy();
    await node.remove(pod);
  });

  test("pauses and resumes", async () => {
    const pod = await machine("pause");
    await node.untilOutput(pod, READY, BOOT_MS);
    await node.containerd.ctr("task", "pause", pod.containerId);
    expect(await node.containerd.ctr("task", "ls")).toMatch(
      new RegExp(`${pod.containerId}\\s+\\d+\\s+PAUSED`),
    );
    await node.containerd.ctr("task", "resume", pod.containerId);
    expect((await exec(pod, "/bin/sh", "-c", "exit 0")).exitCode).toBe(0);
    await node.remove(pod);
  });

  test("a guest that ends itself ends its container", async () => {
    const off = await machine("poweroff", { tty: true, stdin: true });
    await node.untilOutput(off, READY, BOOT_MS);
    await exec(off, "/bin/sh", "-c", "poweroff -f >/dev/null 2>&1 &");
    expect(await node.ended(off)).toMatchObject({ exitCode: 0 });
    await node.remove(off);
  });

  test("ctr runs a machine without a pod", async () => {
    const { containerd } = node;
    await containerd.ctr(
      "run",
      "-d",
      "--runtime",
      "io.containerd.trine-vm.v2",
      tiny,
      "by-ctr",
      "machine",
    );
    const { items } = JSON.parse((await node.api("/v1/pods")).body) as {
      items: { sandboxId: string; machine?: { state: string; consoleLog: string } }[];
    };
    const machineOf = items.find((item) => item.sandboxId === "by-ctr")?.machine;
    expect(machineOf?.state).toBe("running");
    await pollUntil("it boots", { ms: BOOT_MS }, async () =>
      (await readFile(machineOf?.consoleLog ?? "", "utf8")).includes("TINY-GUEST")
        ? true
        : undefined,
    );
    await containerd.ctr("task", "kill", "-s", "KILL", "by-ctr");
    await pollUntil("the task is stopped", { ms: 20_000 }, async () =>
      (await containerd.ctr("task", "ls")).match(/by-ctr\s+\d+\s+STOPPED/) ? true : undefined,
    );
    await containerd.ctr("task", "delete", "by-ctr").catch((cause: unknown) => {
      // ctr hands the task's own exit status on as its own.
      if (!String(cause).includes("137")) throw cause;
    });
    await containerd.ctr("container", "delete", "by-ctr");
  });

  test("a wrong annotation fails the pod with the key, the value and what is allowed", async () => {
    await expect(machine("wrong", { annotations: { "trine.dev/cpus": "many" } })).rejects.toThrow(
      /trine\.dev\/cpus.*many.*1.*255/s,
    );
    await expect(machine("typo", { annotations: { "trine.dev/memroy": "1Gi" } })).rejects.toThrow(
      /trine\.dev\/memroy.*trine\.dev\/memory/s,
    );
    const { items } = await runtime().listPodSandbox({});
    expect(items.filter((item) => ["wrong", "typo"].includes(item.metadata?.name ?? ""))).toEqual(
      [],
    );
  });

  test("an image without a disk is refused with the reason", async () => {
    const annotations = { "trine.dev/machine": "main" };
    await expect(node.run({ name: "diskless", image: busybox, annotations })).rejects.toThrow(
      /\/disk/,
    );
  });
});
