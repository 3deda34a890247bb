// The agent as the first process of a guest that boots, with no shim and no daemon: only the link, and two disks.
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { withDeadline } from "@trine/base";
import type { AgentClient } from "@trine/guest-link";
import { ExitSchema, ProcessState_State } from "@trine/proto/agent";
import { microvmGuest, runCommand } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ANSWER_MS, BareGuest } from "./bare-guest.ts";
import type { HostLink } from "./host-link.ts";

/** No frame is of it. */
const UNKNOWN_KIND = 99;
const LAYER_BYTES = 64 * 1024 * 1024;
const [IMAGE, LAYER] = ["image", "layer"];

let dir: string;
let guest: BareGuest;
let link: HostLink;
let agent: AgentClient;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-alone-"));
  await makeDisks();
  guest = await BareGuest.boot(await microvmGuest(), [
    { path: join(dir, IMAGE), serial: IMAGE, readOnly: true },
    { path: join(dir, LAYER), serial: LAYER },
  ]);
  ({ link, agent } = guest);
}, 900_000);

afterAll(async () => {
  await guest[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

/** busybox as an image, and an empty layer for what is written. */
async function makeDisks(): Promise<void> {
  const root = join(dir, "root");
  for (const each of ["bin", "proc", "dev", "sys", "tmp"]) {
    await mkdir(join(root, each), { recursive: true });
  }
  await mkdir(join(root, "own"));
  await chmod(join(root, "own"), 0o777);
  await copyFile("/bin/busybox", join(root, "bin/busybox"));
  for (const name of ["sh", "cat", "hostname", "id", "grep"]) {
    await symlink("busybox", join(root, "bin", name));
  }
  await runCommand("mkfs.erofs", [join(dir, IMAGE), root]);
  await runCommand("truncate", ["-s", `${LAYER_BYTES}`, join(dir, LAYER)]);
  await runCommand("mkfs.ext4", ["-q", "-O", "^has_journal", join(dir, LAYER)]);
}

function specOf(script: string): Uint8Array {
  const spec = {
    ociVersion: "1.1.0",
    process: {
      args: ["/bin/sh", "-c", script],
      ...{ cwd: "/", env: ["PATH=/bin"], user: { uid: 1000, gid: 1000 } },
    },
    root: { path: "/run/trine/none" },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["mode=1777"] },
    ],
    linux: { namespaces: [{ type: "mount" }, { type: "pid" }, { type: "cgroup" }] },
  };
  return Buffer.from(JSON.stringify(spec));
}

function create(container: string, script: string): Promise<void> {
  const root = { lower: IMAGE, upper: LAYER };
  return agent.createContainer({ container, spec: specOf(script), stdin: true, root });
}

test("nothing is answered before the guest is somebody's, but what it is", async () => {
  expect(await agent.describe()).toMatchObject({ protocol: 1, revived: false, containers: [] });
  await expect(create("early", "true")).rejects.toMatchObject({ kind: "wrongState" });
  await agent.revive({
    entropy: Buffer.alloc(64, 7),
    time: timestampFromDate(new Date("2031-05-06T07:08:09Z")),
    ...{ pod: "default/alone", hostname: "alone", machineId: "0123456789abcdef".repeat(2) },
  });
  expect(await agent.describe()).toMatchObject({ revived: true, pod: "default/alone" });
  expect(await agent.onlineResources(1)).toEqual({ cpus: 1, addedBytes: 0 });
}, 120_000);

test("a container on two disks: input, output, status; what it wrote is on its layer", async () => {
  const script =
    "hostname; id -u; read line; echo $$ $line; echo kept-in-the-layer >/own/x; echo gone >/tmp/x; cat /own/x; grep -c ' / overlay ' /proc/mounts; exit 7";
  await create("c1", script);
  const [input, output, exit] = ["stdin", "stdout", "exit"].map((of) => link.open(`${of}/c1/`));
  if (input === undefined || output === undefined || exit === undefined) throw new Error("streams");
  expect(await agent.startProcess({ container: "c1", exec: "" })).toBeGreaterThan(1);
  input.end("hello\n");
  const said = withDeadline("its output", ANSWER_MS, text(output));
  expect(await said).toBe("alone\n1000\n1 hello\nkept-in-the-layer\n1\n");
  const ended = await withDeadline("its end", ANSWER_MS, buffer(exit));
  expect(fromBinary(ExitSchema, ended)).toMatchObject({ status: 7 });
  expect(await agent.removeContainer("c1")).toEqual([]);
  const layer = await readFile(join(dir, LAYER));
  expect([layer.includes("kept-in-the-layer"), layer.includes("gone\n")]).toEqual([true, false]);
}, 120_000);

test("a host that comes back, also after talking nonsense, finds what runs and how it ends", async () => {
  await create("c2", "read line; exit $line");
  await agent.startProcess({ container: "c2", exec: "" });
  for (const nonsense of [false, true]) {
    if (nonsense) link.send(1, UNKNOWN_KIND, Buffer.from("?"));
    await link.reset(ANSWER_MS);
    const { processes, revived } = await agent.describe();
    expect(revived).toBe(true);
    expect(processes).toMatchObject([{ container: "c2", state: ProcessState_State.RUNNING }]);
  }
  const [input, exit] = [link.open("stdin/c2/"), link.open("exit/c2/")];
  input.end("5\n");
  const ended = await withDeadline("its end", ANSWER_MS, buffer(exit));
  expect(fromBinary(ExitSchema, ended)).toMatchObject({ status: 5 });
  expect(await agent.removeContainer("c2")).toEqual([]);
}, 120_000);
