// Our agent in a whole machine: a Debian guest whose seed has started it.
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { messageOf, pollUntil, withDeadline } from "@trine/base";
import { DIST, debianGuestImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EXEC_MS, execIn } from "./exec-in.ts";
import type { Exec } from "./exec-in.ts";
import { NodeUnderTest } from "./node-under-test.ts";

/** A whole Debian under software emulation, on a machine that has other work. */
const DEBIAN_MS = 600_000;
const READY = /DEBIAN-GUEST READY/;
const SEES = "its agent answers";
const MIB = 1024 * 1024;
const REFUSED = /refused|reset|closed/i;
/** Less than what the kernel of such a guest has in use for itself. */
const KERNELS_OWN = 24 * MIB;

let at: NodeUnderTest;
let pod: RunningPod;

const run = (of: Exec): ReturnType<typeof execIn> => execIn(at.node, pod, of);
const shell = (script: string): string[] => ["/bin/sh", "-c", script];

/** A terminal is what only our agent gives. */
async function untilAgent(): Promise<void> {
  await pollUntil(SEES, { ms: DEBIAN_MS, everyMs: 1000 }, async () => {
    const { status } = await run({ cmd: ["true"], tty: true });
    return status === 0 ? true : undefined;
  });
}

/** What a service in the guest says first, or how the connection to it fails. */
async function greeting(port: number): Promise<string> {
  const forward = await at.node.containerd.cri.portForward(pod.podSandboxId);
  const connection = forward.connect(port);
  const first = once(connection, "data").then(([bytes]) => String(bytes), messageOf);
  const said = await withDeadline(`port ${port} answers`, EXEC_MS, first);
  connection.destroy();
  forward.close();
  return said;
}

/** Bytes that its processes have for themselves: how much more containerd says than the guest's own kernel. */
async function beyondTheGuests(): Promise<number> {
  const { out } = await run({ cmd: ["sed", "-n", "s/^AnonPages: *//p", "/proc/meminfo"] });
  const anonymous = parseInt(out.toString(), 10) * 1024;
  expect(anonymous).toBeGreaterThan(8 * MIB);
  const { stats } = await at.runtime.containerStats({ containerId: pod.containerId });
  return Number(stats?.memory?.rssBytes?.value ?? 0) - anonymous;
}

beforeAll(async () => {
  at = await NodeUnderTest.start("2.4", {
    config: `machines: { agent: ${join(DIST, "bin/trine-agent")} }`,
  });
  const image = await debianGuestImage();
  await at.node.containerd.importImage(image);
  const annotations = { "trine.dev/memory": "512Mi", "trine.dev/agent": "on" };
  pod = await at.node.run({ name: "debian", image: image.name, annotations });
}, 1_800_000);

afterAll(() => at.end());

test(
  "exec: a terminal, input, both outputs, statuses, files of any bytes",
  async () => {
    // qemu-guest-agent or nobody, until it is there: said by its name.
    const early = await run({ cmd: ["true"], tty: true });
    if (early.status !== 0) expect(String(early.status)).toMatch(/agent does not answer.*\(yet\)/);
    await at.node.untilOutput(pod, READY, DEBIAN_MS);
    await untilAgent();

    expect(await run({ cmd: shell("echo out; echo err >&2; exit 3") })).toMatchObject({
      ...{ status: 3, err: "err\n" },
      out: Buffer.from("out\n"),
    });
    const seen = await run({
      cmd: shell("tty; id -u; pwd; echo $HOME; grep -c . /proc/1/comm"),
      tty: true,
    });
    expect(seen.out.toString()).toMatch(/^\/dev\/pts\/\d+\r\n0\r\n\/\r\n\/root\r\n1\r\n$/);
    // It is the machine itself: its init, and what only root of it may.
    const whole =
      "cat /proc/1/comm; mount -t tmpfs none /mnt && umount /mnt && systemctl is-active trine-agent";
    expect((await run({ cmd: shell(whole) })).out.toString()).toBe("systemd\nactive\n");

    const input = randomBytes(1 << 20);
    const { out } = await run({ cmd: ["sha256sum"], input });
    expect(out.toString()).toContain(createHash("sha256").update(input).digest("hex"));
    expect((await run({ cmd: ["cat"], input })).out.equals(input)).toBe(true);
    expect((await run({ cmd: ["nosuch"] })).status).toMatch(/nosuch/);
  },
  2 * DEBIAN_MS,
);

test(
  "an exec goes on while trined is killed, and ends with the machine's restart, after which the agent is there again",
  async () => {
    const want = { stdin: true, stdout: true, tty: true };
    const cmd = shell("stty -echo; while read -r line; do echo got=$line; done; exit 9");
    const { cri } = at.node.containerd;
    const open = await cri.exec({ containerId: pod.containerId, cmd, ...want });
    let said = "";
    open.stdout?.on("data", (bytes: Buffer) => (said += bytes.toString()));
    const until = (text: string): Promise<true> =>
      pollUntil(`it says ${text}`, { ms: EXEC_MS }, () =>
        Promise.resolve(said.includes(text) ? true : undefined),
      );
    open.stdin?.write("one\n");
    await until("got=one");
    await at.node.killTrined();
    open.stdin?.write("two\n");
    await until("got=two");
    await at.node.startTrined();
    open.stdin?.write("three\n");
    await until("got=three");
    await untilAgent();

    const restart = run({ cmd: shell("sync; echo b >/proc/sysrq-trigger; sleep 1000") });
    expect(await withDeadline("the exec ends", DEBIAN_MS, open.exit)).toBe(137);
    expect((await restart).status).toBe(137);
    await untilAgent();
    expect((await run({ cmd: shell("echo again") })).out.toString()).toBe("again\n");
  },
  3 * DEBIAN_MS,
);

/** Says which of the guest's addresses it was reached at: one port on the loopback alone, one on the pod's address alone. */
const SERVICES = `
import select, socket, sys
servers = [socket.create_server(("127.0.0.1", 8081)), socket.create_server((sys.argv[1], 8082))]
while True:
    for server in select.select(servers, [], [])[0]:
        with server.accept()[0] as client:
            client.sendall(client.getsockname()[0].encode())
`;

test(
  "port-forward reaches the guest's loopback and figures are its own while the agent is there, and as without it when not",
  async () => {
    await untilAgent();
    // Again where the address is not there yet.
    const again = ["Restart=on-failure", "StartLimitIntervalSec=0"].map((p) => `--property=${p}`);
    const serve = ["systemd-run", "--quiet", ...again, "python3", "-c", SERVICES, pod.ip];
    expect(await run({ cmd: serve })).toMatchObject({ status: 0, err: "" });
    const until = (what: string, isSo: () => Promise<boolean>): Promise<true> =>
      pollUntil(what, { ms: DEBIAN_MS, everyMs: 500 }, async () => (await isSo()) || undefined);
    // The guest has just booted again.
    await until("the services listen", async () => (await greeting(8082)) === pod.ip);
    expect(await greeting(8081)).toBe("127.0.0.1");
    expect(await greeting(8083)).toMatch(REFUSED);
    await until("figures are its own", async () => Math.abs(await beyondTheGuests()) < KERNELS_OWN);

    // It ends its own exec.
    expect(await run({ cmd: ["systemctl", "stop", "trine-agent"] })).toMatchObject({ status: 137 });
    await until("the loopback is out of reach", async () => REFUSED.test(await greeting(8081)));
    expect(await greeting(8082)).toBe(pod.ip);
    // Execs are qemu-guest-agent's again, and of the rest of what is in use the kernel's own is not told apart.
    await until("figures are not", async () => (await beyondTheGuests()) > KERNELS_OWN);
  },
  3 * DEBIAN_MS,
);
