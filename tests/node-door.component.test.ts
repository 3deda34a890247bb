// The node's door, with a real machine behind it: what the control plane sees of it, does with it, and who may not come in.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError, kindOf, pollUntil, withDeadline } from "@trine/base";
import { issue } from "@trine/certificates";
import { openDoor } from "@trine/node-door";
import type {
  DoorCredentials,
  DoorEvent,
  MachineRef,
  MachineReport,
  NodeDoor,
} from "@trine/node-door";
import { KubeAuthority, freePort, genericTinyGuestImage, runCommand } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BOOT_MS, NodeUnderTest, READY } from "./node-under-test.ts";
import { PodOfTest } from "./pod-pair.ts";
import { udpEcho } from "./udp-echo.ts";

const NODE = "node-1";
const SERVED = 8080;
const ECHOED = 9053;
const MIB = 1024 * 1024;

let dir: string;
let port: number;
let at: NodeUnderTest;
let pod: RunningPod;
let ref: MachineRef;
let control: DoorCredentials;
let kubelet: DoorCredentials;
let authority: KubeAuthority;
/** The files that trined serves with. */
let ownFiles: { readonly cert: string; readonly key: string };
const doors: NodeDoor[] = [];

function door(as: DoorCredentials, node = NODE): NodeDoor {
  const opened = openDoor({ node, host: "127.0.0.1", port, credentials: () => as });
  doors.push(opened);
  return opened;
}

/** A node whose door is open, with a machine that has booted; answers trined's configuration. */
async function configured(): Promise<string> {
  authority = await KubeAuthority.create(dir);
  const pair = async (name: string, user: string): Promise<DoorCredentials> => {
    const { cert, key } = await authority.sign(name, { user });
    const [certificate, secret, ca] = await Promise.all(
      [cert, key, authority.cert].map((file) => readFile(file, "utf8")),
    );
    return { certificate: certificate ?? "", key: secret ?? "", authority: ca ?? "" };
  };
  control = await pair("control", "trine-control");
  kubelet = await pair("kubelet", `system:node:${NODE}`);
  ownFiles = await authority.sign("node", { user: `trine-node:${NODE}`, names: [NODE] });
  const files = `certificate: ${ownFiles.cert}, key: ${ownFiles.key}, authority: ${authority.cert}`;
  return `nodeDoor: { listen: "127.0.0.1:${port}", node: ${NODE}, ${files} }`;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-door-"));
  port = await freePort();
  at = await NodeUnderTest.start("2.4", { config: await configured() });
  await mkdir(full());
  await runCommand("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", full()]);
  pod = await machine();
}, 1_800_000);

/** A volume with less room than the disk on it is large. */
const full = (): string => join(at.node.dir, "full");

async function machine(): Promise<RunningPod> {
  const annotations = {
    ...{ "trine.dev/memory": "128Mi", "trine.dev/display": "on" },
    "trine.dev/disks": "- {name: data, file: /full, size: 64Mi, onError: stop}",
  };
  const of = { name: "door", image: at.tiny, handler: "trine-vm", annotations };
  const made = await PodOfTest.start(at.node, of);
  const mounts = [{ containerPath: "/full", hostPath: full() }];
  const running = await made.run({ image: { image: at.tiny }, mounts });
  await at.node.untilOutput(running, READY, BOOT_MS);
  const { status } = await at.runtime.podSandboxStatus({ podSandboxId: running.podSandboxId });
  return { ...running, ip: status?.network?.ip ?? "" };
}

afterAll(async () => {
  for (const each of doors) each.close();
  await at.node.remove(pod);
  await runCommand("umount", [full()]);
  await at.end();
  await rm(dir, { recursive: true });
});

/** The first event for which `is` holds. */
async function until(
  events: AsyncIterator<DoorEvent>,
  what: string,
  is: (event: DoorEvent) => boolean,
): Promise<DoorEvent> {
  const found = async (): Promise<DoorEvent> => {
    for (;;) {
      const next = await events.next();
      if (next.done === true) throw new Error(`the watch ended before ${what}`);
      if (is(next.value)) return next.value;
    }
  };
  return withDeadline(what, BOOT_MS, found());
}

const isMachine =
  (is: (report: MachineReport) => boolean) =>
  (event: DoorEvent): boolean =>
    event.type === "machine" ? is(event.object) : event.type === "state" && event.items.some(is);

/** What a stream says, until it has said `wanted`. */
async function untilSays(stream: Duplex, wanted: string): Promise<string> {
  let said = "";
  const heard = Promise.withResolvers<string>();
  // One listener for all of it: what comes in one turn of the event loop is several pieces.
  const hear = (bytes: Buffer): void => {
    said += bytes.toString();
    if (said.includes(wanted)) heard.resolve(said);
  };
  stream.on("data", hear).once("error", heard.reject).resume();
  try {
    return await withDeadline(`the stream says ${wanted}`, BOOT_MS, heard.promise);
  } finally {
    stream.pause(); // for who listens next
    stream.off("data", hear);
    stream.off("error", heard.reject);
  }
}

test(
  "the control plane sees a machine run, with the addresses of its guest, pauses it, and sees it again after trined was killed",
  async () => {
    const over = new AbortController();
    const events = door(control).watch(over.signal)[Symbol.asyncIterator]();
    const answers = isMachine(({ agent }) => agent.connected);
    const seen = await until(events, "the guest's agent answers", answers);
    const [report] =
      seen.type === "machine" ? [seen.object] : seen.type === "state" ? seen.items : [];
    if (report === undefined) throw new Error("no report");
    ref = { namespace: report.namespace, pod: report.pod, uid: report.uid };
    expect(report).toMatchObject({
      ...{ phase: "running", accelerator: "tcg", sandboxId: pod.podSandboxId },
      cpus: { sockets: 1, cores: 1, threads: 1 },
      agent: { connected: true, frozen: false, version: expect.any(String) as string },
    });
    const [nic] = report.interfaces;
    expect(nic).toMatchObject({ name: "eth0", fromGuest: true, guestName: "eth0" });
    expect(nic?.addresses[0]).toBe(pod.ip);
    expect(report.disks).toMatchObject([
      { name: "root", bytes: expect.any(Number) as number },
      { name: "data", bytes: 64 * MIB },
      { name: "seed" },
    ]);
    expect(report.memory.guestBytes).toBe(128 * MIB);
    expect(report.memory.overheadBytes).toBeGreaterThan(8 * MIB);
    expect(report.memory.overheadBytes).toBeLessThan(512 * MIB);
    expect(Date.parse(report.since)).toBeLessThan(Date.now());

    await door(control).act(ref, "pause");
    await until(
      events,
      "paused",
      isMachine(({ phase }) => phase === "paused"),
    );
    await expect(door(control).act(ref, "freeze")).rejects.toMatchObject({ kind: "wrongState" });
    await door(control).act(ref, "unpause");
    await until(
      events,
      "running",
      isMachine(({ phase }) => phase === "running"),
    );

    await at.node.killTrined();
    await until(events, "the node is lost", ({ type }) => type === "lost");
    await at.node.startTrined();
    const back = await until(events, "the node is back", ({ type }) => type === "state");
    expect(back).toMatchObject({
      items: [{ ...ref, phase: "running", since: expect.any(String) as string }],
    });
    over.abort();
    await events.next();
  },
  4 * BOOT_MS,
);

test(
  "console, display and ports go through the door, and what the guest says of itself",
  async () => {
    const own = door(control);
    const console_ = await own.console(ref);
    console_.write("echo through-$((40 + 2))\n");
    await untilSays(console_, "through-42");
    const kept = own.console(ref, { preserveSession: true });
    await expect(kept).rejects.toMatchObject({ kind: "conflict" });
    const stream = await own.portForward(ref, { port: SERVED, protocol: "tcp" });
    // Half-closed: the answer comes after our end.
    stream.end("GET / HTTP/1.0\r\n\r\n");
    expect(await withDeadline("the guest's web server answers", BOOT_MS, text(stream))).toMatch(
      /^HTTP\/1\.\d 200 /,
    );
    const program = (await udpEcho(ECHOED)).toString("base64");
    await at.sh(pod, `echo ${program} | base64 -d >/tmp/echo; chmod +x /tmp/echo`);
    await at.sh(pod, "/tmp/echo </dev/null >/dev/null 2>&1 &");
    const datagrams = await own.portForward(ref, { port: ECHOED, protocol: "udp" });
    // Two in one write, the second in two: each keeps its bounds.
    datagrams.write(Buffer.from("\0\x05first\0\x06sec", "latin1"));
    datagrams.write("ond");
    expect(await untilSays(datagrams, "second")).toBe("\0\x05first\0\x06second");
    datagrams.destroy();
    console_.destroy();

    const display = await own.vnc(ref);
    expect(await untilSays(display, "\n")).toBe("RFB 003.008\n");
    const second = own.vnc(ref, { preserveSession: true });
    await expect(second).rejects.toMatchObject({ kind: "conflict" });
    display.destroy();

    const picture = await own.screenshot(ref);
    expect(Buffer.from(picture).subarray(1, 4).toString()).toBe("PNG");
    const info = await own.guestOsInfo(ref);
    expect(info.guestAgentVersion).toMatch(/^\d+\./);
    expect(await own.userList(ref)).toMatchObject({ items: expect.any(Array) as unknown[] });
    await own.act(ref, "reset");
    await pollUntil("the guest begins anew", { ms: BOOT_MS, everyMs: 100 }, async () => {
      const { agent, phase } = await own.machine(ref);
      return phase === "running" && !agent.connected ? true : undefined;
    });
  },
  4 * BOOT_MS,
);

test(
  "a guest whose agent is gone is rebooted by the power button, and its machine does not end",
  async () => {
    const own = door(control);
    const answers = async (): Promise<true | undefined> =>
      (await own.machine(ref)).agent.connected ? true : undefined;
    await pollUntil("the guest is up again", { ms: BOOT_MS, everyMs: 500 }, answers);
    const before = await at.view(pod);
    const console_ = await own.console(ref);
    console_.write("killall qemu-ga; echo gone-$((40 + 2))\n");
    await untilSays(console_, "gone-42");
    await own.act(ref, "softreboot");
    const said = await untilSays(console_, "TINY-GUEST READY");
    expect(said).toContain("TINY-GUEST POWER BUTTON");
    console_.destroy();
    await pollUntil("its agent is there again", { ms: BOOT_MS, everyMs: 500 }, answers);
    const { machine: after } = await at.view(pod);
    expect([after?.pid, after?.state]).toEqual([before.machine?.pid, "running"]);
    expect(await own.machine(ref)).toMatchObject({ phase: "running" });
  },
  4 * BOOT_MS,
);

test(
  "a machine that was stopped by a full volume is told as paused with the reason, and goes on when there is room",
  async () => {
    const own = door(control);
    const console_ = await own.console(ref);
    console_.write(
      "dd if=/dev/zero of=/dev/vdb bs=1M count=16 conv=fsync; echo written-$?-$((40 + 2))\n",
    );
    const paused = await pollUntil("paused", { ms: BOOT_MS, everyMs: 200 }, async () => {
      const report = await own.machine(ref);
      return report.phase === "paused" ? report : undefined;
    });
    expect(paused.reason).toMatch(/could not be read or written \(.*No space left on device\)/);
    await runCommand("mount", ["-o", "remount,size=64m", full()]);
    await own.act(ref, "unpause");
    await untilSays(console_, "written-0-42");
    expect(await own.machine(ref)).toMatchObject({ phase: "running" });
    console_.destroy();
  },
  4 * BOOT_MS,
);

test(
  "a certificate that is over opens no door, on either side, and both are told so",
  async () => {
    const [certificate, key] = await Promise.all(
      [authority.cert, join(dir, "ca.key")].map((file) => readFile(file, "utf8")),
    );
    const signer = { certificate: certificate ?? "", key: key ?? "" };
    const over = { nowMs: Date.now() - 2_000, lifeMs: 1_000 };
    const client = { subject: { name: "trine-control" }, usages: ["clientAuth"] as const };
    const late = door({ ...control, ...(await issue(signer, { ...client, ...over })) });
    await expect(late.machines()).rejects.toMatchObject({
      kind: "forbidden",
      message: expect.stringMatching(/our own certificate has expired/) as string,
    });

    const good = await Promise.all([ownFiles.cert, ownFiles.key].map((file) => readFile(file)));
    const subject = { name: `trine-node:${NODE}`, dnsNames: [NODE] };
    const ended = await issue(signer, { subject, usages: ["serverAuth"], ...over });
    await serve(ended.certificate, ended.key);
    await expect(door(control).machines()).rejects.toMatchObject({
      kind: "forbidden",
      message: expect.stringMatching(/certificate has expired/) as string,
    });
    await serve(...good);
    expect(await door(control).machine(ref)).toMatchObject({ phase: "running" });
  },
  4 * BOOT_MS,
);

/** trined is started anew, and its door is open with that. */
async function serve(...[certificate = "", key = ""]: (string | Buffer)[]): Promise<void> {
  await writeFile(ownFiles.cert, certificate);
  await writeFile(ownFiles.key, key);
  await at.node.killTrined();
  await at.node.startTrined();
  // Whoever comes without a certificate is refused by a door that is open, and by nothing else.
  const nobody = door({ ...control, certificate: "", key: "" });
  await pollUntil("the door is open", { ms: BOOT_MS, everyMs: 100 }, () =>
    nobody.machines().then(
      () => undefined,
      (cause: unknown) => (kindOf(cause) === "forbidden" ? true : undefined),
    ),
  );
}

test(
  "a machine that was started with room grows while it runs, seen inside, and stays so after trined was killed",
  async () => {
    const generic = await genericTinyGuestImage();
    await at.node.containerd.importImage(generic);
    const annotations = {
      ...{ "trine.dev/memory": "128Mi", "trine.dev/max-memory": "256Mi" },
      "trine.dev/max-cpus": "2",
    };
    const image = generic.name;
    const made = await PodOfTest.start(at.node, {
      ...{ name: "grows", image, handler: "trine-vm", annotations },
    });
    const grows = await made.run({ image: { image } });
    await at.node.untilOutput(grows, READY, BOOT_MS);
    const own = door(control);
    const told = async (): Promise<MachineReport | undefined> =>
      (await own.machines()).find(({ sandboxId }) => sandboxId === grows.podSandboxId);
    const { namespace = "", pod: name = "", uid = "" } = (await told()) ?? {};
    const its = { namespace, pod: name, uid };
    await pollUntil("its guest's agent answers", { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await own.machine(its)).agent.connected ? true : undefined,
    );
    const inside = async (): Promise<number[]> => {
      const script = "modprobe virtio_mem; nproc; awk '/MemTotal/ { print $2 }' /proc/meminfo";
      const { stdout } = await at.sh(grows, script);
      return stdout.trim().split("\n").map(Number);
    };
    // Without its driver the guest takes no memory, and a pause does not wait until that is clear.
    const vain = own.resize(its, { cpus: 1, memoryBytes: 192 * MIB });
    const given = expect(vain).rejects.toMatchObject({
      kind: "wrongState",
      message: expect.stringContaining("pause") as string,
    });
    await own.act(its, "pause");
    await given;
    await own.act(its, "unpause");

    const [cpus = 0, kib = 0] = await inside();
    expect(cpus).toBe(1);
    const size = { cpus: 2, memoryBytes: 192 * MIB };
    await own.resize(its, size);
    const [grownCpus, grownKib = 0] = await inside();
    expect([grownCpus, grownKib - kib]).toEqual([2, 64 * 1024]);

    const more = own.resize(its, { cpus: 3, memoryBytes: 192 * MIB });
    await expect(more).rejects.toMatchObject({
      kind: "wrongState",
      message: expect.stringContaining("3 CPUs: the machine was started for 1 CPU to 2") as string,
    });
    await expect(own.resize(ref, size)).rejects.toMatchObject({
      kind: "wrongState",
      message: expect.stringContaining("no room to grow") as string,
    });

    await at.node.killTrined();
    await at.node.startTrined();
    const back = await pollUntil("the door is open", { ms: BOOT_MS, everyMs: 200 }, () =>
      told().catch(() => undefined),
    );
    expect(back).toMatchObject({ cpus: { sockets: 2 }, memory: { guestBytes: 192 * MIB } });
    await own.resize(its, size);
    expect(await inside()).toEqual([2, grownKib]);
    await at.node.remove(grows);
  },
  4 * BOOT_MS,
);

test("nobody else comes in, and a pod that was made anew is another", async () => {
  await expect(door(kubelet).machines()).rejects.toMatchObject({ kind: "forbidden" });
  const nobody = door({ ...control, certificate: "", key: "" });
  await expect(nobody.machines()).rejects.toBeInstanceOf(TrineError);
  await expect(door(control, "node-2").machines()).rejects.toMatchObject({ kind: "forbidden" });
  const another = door(control).machine({ ...ref, uid: "another" });
  await expect(another).rejects.toMatchObject({ kind: "conflict" });
});
