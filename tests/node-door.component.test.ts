// The node's door, with a real machine behind it: what the control plane sees of it, does with it, and who may not come in.
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError, pollUntil, withDeadline } from "@trine/base";
import { openDoor } from "@trine/node-door";
import type {
  DoorCredentials,
  DoorEvent,
  MachineRef,
  MachineReport,
  NodeDoor,
} from "@trine/node-door";
import { KubeAuthority, freePort } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BOOT_MS, NodeUnderTest } from "./node-under-test.ts";

const NODE = "node-1";
const SERVED = 8080;
const MIB = 1024 * 1024;

let dir: string;
let port: number;
let at: NodeUnderTest;
let pod: RunningPod;
let ref: MachineRef;
let control: DoorCredentials;
let kubelet: DoorCredentials;
const doors: NodeDoor[] = [];

function door(as: DoorCredentials, node = NODE): NodeDoor {
  const opened = openDoor({ node, host: "127.0.0.1", port, credentials: () => as });
  doors.push(opened);
  return opened;
}

/** A node whose door is open, with a machine that has booted; answers trined's configuration. */
async function configured(): Promise<string> {
  const authority = await KubeAuthority.create(dir);
  const pair = async (name: string, user: string): Promise<DoorCredentials> => {
    const { cert, key } = await authority.sign(name, { user });
    const [certificate, secret, ca] = await Promise.all(
      [cert, key, authority.cert].map((file) => readFile(file, "utf8")),
    );
    return { certificate: certificate ?? "", key: secret ?? "", authority: ca ?? "" };
  };
  control = await pair("control", "trine-control");
  kubelet = await pair("kubelet", `system:node:${NODE}`);
  const own = await authority.sign("node", { user: `trine-node:${NODE}`, names: [NODE] });
  const files = `certificate: ${own.cert}, key: ${own.key}, authority: ${authority.cert}`;
  return `nodeDoor: { listen: "127.0.0.1:${port}", node: ${NODE}, ${files} }`;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-door-"));
  port = await freePort();
  at = await NodeUnderTest.start("2.4", { config: await configured() });
  pod = await at.booted("door", { annotations: { "trine.dev/display": "on" } });
}, 1_800_000);

afterAll(async () => {
  for (const each of doors) each.close();
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
  const heard = async (): Promise<string> => {
    while (!said.includes(wanted)) {
      const [bytes] = (await once(stream, "data")) as [Buffer];
      said += bytes.toString();
    }
    return said;
  };
  return withDeadline(`the stream says ${wanted}`, BOOT_MS, heard());
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
    console_.destroy();

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

test("nobody else comes in, and a pod that was made anew is another", async () => {
  await expect(door(kubelet).machines()).rejects.toMatchObject({ kind: "forbidden" });
  const nobody = door({ ...control, certificate: "", key: "" });
  await expect(nobody.machines()).rejects.toBeInstanceOf(TrineError);
  await expect(door(control, "node-2").machines()).rejects.toMatchObject({ kind: "forbidden" });
  const another = door(control).machine({ ...ref, uid: "another" });
  await expect(another).rejects.toMatchObject({ kind: "conflict" });
});
