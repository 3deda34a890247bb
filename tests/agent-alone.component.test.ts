// The agent as the first process of a guest that boots, with no shim and no daemon: only the link, and two disks.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { withDeadline } from "@trine/base";
import { AgentClient } from "@trine/guest-link";
import { ExitSchema, ProcessState_State } from "@trine/proto/agent";
import { microvmGuest, runCommand } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HostLink } from "./host-link.ts";

const BOOT_MS = 180_000;
const ANSWER_MS = 60_000;
/** No frame is of it. */
const UNKNOWN_KIND = 99;
const LAYER_BYTES = 64 * 1024 * 1024;
const [IMAGE, LAYER] = ["image", "layer"];

let dir: string;
let vmm: ChildProcess;
let link: HostLink;
let agent: AgentClient;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-alone-"));
  await makeDisks();
  const guest = await microvmGuest();
  const port = join(dir, "port");
  const disk = (serial: string, readOnly: "on" | "off"): string[] => [
    ...["-drive", `if=none,id=${serial},format=raw,readonly=${readOnly},file=${join(dir, serial)}`],
    ...["-device", `virtio-blk-pci,drive=${serial},serial=${serial}`],
  ];
  const args = [
    ...["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-display", "none"],
    ...["-nodefaults", "-no-reboot", "-machine", "q35", "-m", "256"],
    ...["-kernel", guest.kernel, "-initrd", guest.initrd, "-append", guest.cmdline],
    ...[
      "-device",
      "virtio-serial-pci",
      "-chardev",
      `socket,id=agent,path=${port},server=on,wait=off`,
    ],
    ...["-device", "virtserialport,chardev=agent,name=trine.agent", "-device", "vmgenid,guid=auto"],
    ...[...disk(IMAGE, "on"), ...disk(LAYER, "off")],
  ];
  vmm = spawn("setpriv", args, { stdio: ["ignore", "inherit", "inherit"] });
  link = await HostLink.connect(port, ANSWER_MS);
  await link.reset(BOOT_MS);
  await link.listen(join(dir, "guest.sock"));
  agent = new AgentClient(join(dir, "guest.sock"));
}, 900_000);

afterAll(async () => {
  agent.close();
  await link[Symbol.asyncDispose]();
  vmm.kill("SIGKILL");
  if (vmm.exitCode === null && vmm.signalCode === null) await once(vmm, "exit");
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
  expect(await agent.onlineResources()).toEqual({ cpus: 1, addedBytes: 0 });
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
