// A machine and ordinary containers in one pod, on the real containerd, shims, trined, runc and QEMU.
import { mkdir, readFile, readdir, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil, withDeadline } from "@trine/base";
import { ContainerState, NamespaceMode } from "@trine/proto/cri/api";
import type { RunningPod } from "@trine/testkit";
import { TrineNode, busyboxImage, tinyGuestImage } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PodOfMany } from "./mixed-pod.ts";

const VERSIONS = ["1.6", "2.4"] as const;
const BOOT_MS = 180_000;
const STEP_MS = 60_000;
const READY = /TINY-GUEST READY ip=(\S+)/;
const { POD, NODE } = NamespaceMode;

async function processIds(): Promise<number[]> {
  return (await readdir("/proc")).map(Number).filter((id) => id > 1);
}

describe.each(VERSIONS)("a machine among containers, containerd %s", (version) => {
  let node: TrineNode;
  let tiny: string;
  let busybox: string;
  let pod: PodOfMany;
  let web: RunningPod;
  let machine: RunningPod;

  beforeAll(async () => {
    const images = [await tinyGuestImage(), await busyboxImage()] as const;
    [tiny, busybox] = [images[0].name, images[1].name];
    node = await TrineNode.start({ version });
    for (const image of images) await node.containerd.importImage(image);
    pod = await PodOfMany.make(node, {
      name: "mixed",
      annotations: { "trine.dev/memory": "128Mi" },
    });
  }, 1_800_000);

  afterAll(async () => {
    expect(await node.stop()).toEqual([]);
  }, 300_000);

  const sh = (
    name: string,
    script: string,
  ): { name: string; image: string; command: string[] } => ({
    name,
    image: busybox,
    command: ["/bin/sh", "-c", script],
  });

  async function stateOf(container: RunningPod): Promise<ContainerState | undefined> {
    const { containerId } = container;
    const { status } = await node.containerd.cri.runtime.containerStatus({ containerId });
    return status?.state;
  }

  test("an init container runs before the machine, in the pod's network and under its name", async () => {
    const script =
      "hostname; ip -4 -o addr show eth0; wget -qO- http://127.0.0.1:1/ || echo init done; exit 3";
    const init = await pod.start(sh("init", script));
    expect((await node.ended(init, STEP_MS)).exitCode).toBe(3);
    const output = await node.output(init);
    expect(output).toMatch(/^mixed$/m);
    expect(output).toContain(`${pod.ip}/`);
    expect(output).toContain("init done");
    await pod.removeContainer(init);
  });

  test("machine and containers run side by side, none in a namespace of the host", async () => {
    const serve =
      "mkdir /www; echo from-web >/www/index.html; echo web is up; exec httpd -f -p 9090 -h /www";
    web = await pod.start(sh("web", serve));
    machine = await pod.start({ name: "machine", image: tiny });
    await node.untilOutput(web, "web is up", STEP_MS);
    const ready = await node.untilOutput(machine, READY, BOOT_MS);
    expect(READY.exec(ready)?.[1]).toContain(pod.ip);
    const own = await pod.exec(
      web,
      "for n in ipc uts net pid mnt; do readlink /proc/self/ns/$n; done",
    );
    const host = await Promise.all(
      ["ipc", "uts", "net", "pid", "mnt"].map((n) => readlink(`/proc/self/ns/${n}`)),
    );
    expect(own.out.trim().split("\n")).toEqual(
      Array(5).fill(expect.stringMatching(/^\w+:\[\d+\]$/)),
    );
    for (const one of host) expect(own.out).not.toContain(one);
    const all = await node.containerd.cri.runtime.listContainers({});
    expect(
      all.containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING).length,
    ).toBe(2);
  });

  test("one address: a container's port is its own, every other the machine's", async () => {
    const other = await node.run({
      name: "other",
      image: busybox,
      handler: "",
      command: ["sleep", "1000"],
    });
    const get = async (port: number): Promise<string> => {
      const answer = await node.containerd.cri.runtime.execSync({
        containerId: other.containerId,
        cmd: ["wget", "-qO-", `http://${pod.ip}:${port}/`],
        timeout: 60n,
      });
      return Buffer.concat([answer.stdout, answer.stderr]).toString();
    };
    expect(await get(9090)).toBe("from-web\n");
    expect(await get(8080)).toBe("mixed\n");
    // Both reach others from the one address.
    const serve = "mkdir /www; echo from-other >/www/index.html; exec httpd -p 7070 -h /www";
    await node.containerd.cri.runtime.execSync({
      containerId: other.containerId,
      cmd: ["sh", "-c", serve],
      timeout: 60n,
    });
    const fetch = `wget -qO- http://${other.ip}:7070/`;
    expect((await pod.exec(web, fetch)).out).toBe("from-other\n");
    expect((await pod.exec(machine, fetch)).out).toBe("from-other\n");
    await node.remove(other);
  });

  test("a container finds the machine on localhost, the machine a container at its name", async () => {
    expect((await pod.exec(web, "wget -qO- http://127.0.0.1:8080/")).out).toBe("mixed\n");
    expect((await pod.exec(web, "wget -qO- http://127.0.0.1:9090/")).out).toBe("from-web\n");
    expect((await pod.exec(machine, "wget -qO- http://169.254.77.1:9090/")).out).toBe("from-web\n");
    const forward = await node.containerd.cri.portForward(pod.podSandboxId);
    for (const [port, wanted] of [
      [8080, "mixed"],
      [9090, "from-web"],
    ] as const) {
      const connection = forward.connect(port);
      connection.end("GET / HTTP/1.0\r\n\r\n");
      expect(await withDeadline("port-forward", 60_000, text(connection))).toContain(wanted);
    }
    forward.close();
  });

  test("stats, control groups and processes of each are where they are looked for", async () => {
    const { stats } = await node.containerd.cri.runtime.listContainerStats({});
    const of = (one: RunningPod): bigint =>
      stats.find(({ attributes }) => attributes?.id === one.containerId)?.memory?.workingSetBytes
        ?.value ?? 0n;
    expect(of(web)).toBeGreaterThan(0n);
    expect(of(machine)).toBeGreaterThan(of(web));
    const groups = await pod.exec(web, "cat /proc/self/cgroup");
    expect(groups.out).toContain(web.containerId);
  });

  test("daemon and containerd start anew and nobody notices; nothing said meanwhile is lost", async () => {
    const said = await pod.start(
      sh(
        "said",
        "i=0; while [ $i -lt 160 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 5",
      ),
    );
    await node.untilOutput(said, "line 3", STEP_MS);
    await node.killTrined();
    expect((await pod.exec(web, "echo without daemon")).out).toBe("without daemon\n");
    await node.containerd.kill9();
    await node.containerd.start();
    expect(await stateOf(web)).toBe(ContainerState.CONTAINER_RUNNING);
    expect(await stateOf(machine)).toBe(ContainerState.CONTAINER_RUNNING);
    await node.startTrined();
    expect((await node.ended(said, BOOT_MS)).exitCode).toBe(5);
    const lines = (await node.output(said)).match(/line \d+/g) ?? [];
    // What containerd had read when it was killed is its own loss; the order never suffers.
    expect(lines.at(-1)).toBe("line 159");
    expect((await pod.exec(machine, "echo still here")).out).toBe("still here\n");
    await pod.removeContainer(said);
  });

  test("each starts anew without the other", async () => {
    await pod.removeContainer(web);
    expect(await stateOf(machine)).toBe(ContainerState.CONTAINER_RUNNING);
    web = await pod.start({ ...sh("web", "echo second web; exec sleep 1000"), attempt: 1 });
    await node.untilOutput(web, "second web", STEP_MS);
    await pod.removeContainer(machine);
    expect(await stateOf(web)).toBe(ContainerState.CONTAINER_RUNNING);
    machine = await pod.start({ name: "machine", image: tiny, attempt: 1 });
    await node.untilOutput(machine, READY, BOOT_MS);
  });

  test("a second machine is refused by name, and so is a container that wants the host's namespaces", async () => {
    await expect(pod.start({ name: "two", image: tiny })).rejects.toThrow(
      /pod mixed already has its machine, container machine/,
    );
    expect(await stateOf(machine)).toBe(ContainerState.CONTAINER_RUNNING);
    await pod.remove();
    const host = await PodOfMany.make(node, { name: "host" }, { pid: NODE });
    const security = { namespaceOptions: { pid: NODE } };
    await expect(host.start({ ...sh("web", "exit 0"), security })).rejects.toThrow(
      /pod host: hostPID: true is not possible/,
    );
    await host.remove();
  });

  test("with shareProcessNamespace containers see each other's processes, and nobody else's", async () => {
    const shared = await PodOfMany.make(node, { name: "shared" }, { pid: POD });
    const options = { security: { namespaceOptions: { pid: POD, network: POD, ipc: POD } } };
    const one = await shared.start({ ...sh("one", "exec sleep 987"), ...options });
    const two = await shared.start({ ...sh("two", "exec sleep 986"), ...options });
    const seen = await shared.exec(two, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    expect(seen.out).toContain("sleep 987");
    expect(seen.out).toMatch(/^\/pause pause/);
    expect(seen.out).not.toContain("containerd");
    await shared.removeContainer(one);
    expect(await stateOf(two)).toBe(ContainerState.CONTAINER_RUNNING);
    const dir = join(node.dir, "volume");
    await mkdir(dir);
    await writeFile(join(dir, "a"), "from the host");
    const three = await shared.start({
      ...sh("three", "cat /v/a; echo back >/v/b"),
      mounts: [{ containerPath: "/v", hostPath: dir }],
      ...options,
    });
    await node.ended(three, STEP_MS);
    expect(await node.output(three)).toContain("from the host");
    expect(await readFile(join(dir, "b"), "utf8")).toBe("back\n");
    await shared.remove();
  });

  test("the nested shim's death ends its containers with a status, and the pod runs new ones", async () => {
    const frail = await PodOfMany.make(node, { name: "frail" });
    const one = await frail.start(sh("one", "exec sleep 985"));
    const pid = await nestedShimOf(frail);
    process.kill(pid, "SIGKILL");
    expect((await node.ended(one, STEP_MS)).exitCode).toBe(137);
    const again = await frail.start({ ...sh("one", "echo again; exec sleep 984"), attempt: 1 });
    await node.untilOutput(again, "again", STEP_MS);
    await frail.remove();
  });

  async function nestedShimOf(of: PodOfMany): Promise<number> {
    return pollUntil("the nested shim", { ms: STEP_MS }, async () => {
      for (const id of await processIds()) {
        const line = await readFile(`/proc/${id}/cmdline`, "utf8").catch(() => "");
        const words = line.split("\0");
        if (words[0]?.endsWith("shim-runc-v2") === true && words.includes(of.podSandboxId))
          return id;
      }
      return undefined;
    });
  }
});
