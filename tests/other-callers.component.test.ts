// Callers of the shim other than containerd's CRI, each as it calls, on the real thing behind the shim: dockerd makes
// the network between Create and Start, CRI-O mounts roots itself and takes no events. Neither of them runs here.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, link, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil } from "@trine/base";
import { Status, Task } from "@trine/proto/task";
import { DIST, TrineNode, microvmConfig, microvmGuest, runCommand } from "@trine/testkit";
import { TtrpcClient } from "@trine/ttrpc";
import type { ServiceClient } from "@trine/ttrpc";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";

const SHIM = join(DIST, "bin/containerd-shim-trine-microvm-v2");
/** The guest boots under it. */
const CALL = { timeoutMs: 180_000 };
const APPLETS = ["sh", "ip", "ping", "echo", "sleep", "cat", "hostname"];

let node: TrineNode;
let root: string;

beforeAll(async () => {
  node = await TrineNode.start({ version: "2.4", config: microvmConfig(await microvmGuest()) });
  root = join(node.dir, "merged");
  await mkdir(join(root, "bin"), { recursive: true });
  for (const dir of ["proc", "sys", "dev", "etc", "tmp"]) await mkdir(join(root, dir));
  await copyFile("/bin/busybox", join(root, "bin/busybox"));
  await chmod(join(root, "bin/busybox"), 0o755);
  for (const name of APPLETS) await link(join(root, "bin/busybox"), join(root, "bin", name));
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
});

/** As all of them give it. */
const MOUNTS = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "ro"] },
];

const MAY = ["CAP_NET_RAW", "CAP_KILL"];
const CAPABILITIES = { bounding: MAY, effective: MAY, permitted: MAY };

interface Caller {
  readonly namespace: string;
  /** Of containerd; empty = it is nobody's business. */
  readonly address: string;
  readonly ttrpc: string;
}

/** Runs `start` as the caller does; answers what it says on both of its outputs. */
async function startShim(caller: Caller, id: string, bundle: string): Promise<string> {
  const words = ["-namespace", caller.namespace, "-address", caller.address];
  const child = spawn(SHIM, [...words, "-publish-binary", "/bin/true", "-id", id, "start"], {
    cwd: bundle,
    env: { ...process.env, TRINE_STATE: node.stateDir, TTRPC_ADDRESS: caller.ttrpc },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, "close")) as [number];
  expect([code, ...(await said)]).toEqual([0, expect.stringMatching(/^unix:\/\/\/\S+$/), ""]);
  return (await said)[0];
}

interface BundleOptions {
  readonly args?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly network?: string;
  readonly root: string;
}

async function makeBundle(id: string, of: BundleOptions): Promise<string> {
  const bundle = join(node.dir, "b", id);
  await mkdir(join(bundle, "rootfs"), { recursive: true });
  const network = { type: "network", ...(of.network === undefined ? {} : { path: of.network }) };
  const namespaces = ["pid", "ipc", "uts", "mount"].map((type) => ({ type }));
  const spec = {
    ociVersion: "1.1.0",
    process: {
      args: of.args ?? ["/bin/true"],
      cwd: "/",
      env: ["PATH=/bin"],
      user: { uid: 0, gid: 0 },
      capabilities: CAPABILITIES,
    },
    root: { path: of.root },
    hostname: "caller",
    annotations: of.annotations ?? {},
    mounts: MOUNTS,
    linux: { namespaces: [...namespaces, network] },
  };
  await writeFile(join(bundle, "config.json"), JSON.stringify(spec));
  return bundle;
}

/** A FIFO in the bundle, and what has come out of it; `all` when its writers have gone. */
async function outputOf(
  bundle: string,
): Promise<{ path: string; has: (words: string) => Promise<true>; all: Promise<string> }> {
  const path = join(bundle, "out");
  await runCommand("mkfifo", [path]);
  const reader = spawn("cat", [path], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  reader.stdout.setEncoding("utf8").on("data", (part: string) => (said += part));
  const has = (words: string): Promise<true> =>
    pollUntil(`the output has ${words}`, { ms: 60_000, everyMs: 50 }, () =>
      said.includes(words) ? true : undefined,
    );
  return { path, has, all: once(reader, "close").then(() => said) };
}

async function connect(
  address: string,
): Promise<{ task: ServiceClient<typeof Task>; end: () => void }> {
  const client = await TtrpcClient.connect(address);
  return {
    task: client.service(Task),
    end: () => {
      client.close();
    },
  };
}

test("dockerd: a container gets the network that is plugged in between Create and Start", async () => {
  const id = "docker-late";
  const { gateway, name } = node.containerd.bridge;
  const script = `ip -o -4 address show eth0; ip link show eth0; ping -c 1 -W 20 ${gateway}; hostname`;
  const bundle = await makeBundle(id, { root, args: ["/bin/sh", "-c", script] });
  const { socket } = node.containerd;
  const caller = { namespace: "moby", address: socket, ttrpc: `${socket}.ttrpc` };
  const { task, end } = await connect(await startShim(caller, id, bundle));
  const out = await outputOf(bundle);
  const { pid } = await task.create({ id, bundle, stdout: out.path }, CALL);

  const namespace = `/proc/${pid}/ns/net`;
  const address = gateway.replace(/1$/, "200");
  const inside = (...words: string[]): Promise<string> =>
    runCommand("nsenter", [`--net=${namespace}`, "ip", ...words]);
  const link = ["link", "add", "name", "tdock0", "type", "veth", "peer", "name", "eth0"];
  await runCommand("ip", [...link, "netns", `${pid}`]);
  await runCommand("ip", ["link", "set", "tdock0", "master", name, "up"]);
  await inside("address", "add", `${address}/24`, "dev", "eth0");
  await inside("link", "set", "eth0", "up");
  await inside("route", "add", "default", "via", gateway);
  const mac = /ether (\S+)/.exec(await inside("link", "show", "eth0"))?.[1] ?? "none";

  const wait = task.wait({ id }, CALL);
  await task.start({ id }, CALL);
  expect((await wait).exitStatus).toBe(0);
  const said = await out.all;
  expect(said).toContain(`inet ${address}/24`);
  expect(said).toContain(mac);
  expect(said).toContain("1 packets received");
  expect(said).toContain("\ncaller\n");
  await task.delete({ id }, CALL);
  await task.shutdown({ id }, CALL).catch(() => undefined); // it goes at once
  end();
}, 240_000);

test("CRI-O: sandbox and container by its annotations, roots mounted beforehand, back after its own restart", async () => {
  const sandbox = "crio-sandbox";
  const annotations = (kind: string): Record<string, string> => ({
    "io.kubernetes.cri-o.ContainerType": kind,
    "io.kubernetes.cri-o.SandboxID": sandbox,
    "io.kubernetes.cri-o.KubeName": "web",
    "io.kubernetes.cri-o.Namespace": "default",
  });
  const caller = { namespace: "default", address: "", ttrpc: "" };
  const pod = await makeBundle(sandbox, { root, annotations: annotations("sandbox") });
  const address = await startShim(caller, sandbox, pod);
  const first = await connect(address);
  await first.task.create({ id: sandbox, bundle: pod }, CALL);
  await first.task.start({ id: sandbox }, CALL);

  const id = "crio-container";
  const bundle = await makeBundle(id, {
    root: "rootfs",
    annotations: annotations("container"),
    args: ["/bin/sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"],
  });
  const mounted = join(bundle, "rootfs");
  await runCommand("mount", ["--bind", root, mounted]);
  onTestFinished(async () => {
    await runCommand("umount", ["-l", mounted]);
  });
  expect(await startShim(caller, id, bundle)).toBe(address);
  const out = await outputOf(bundle);
  await first.task.create({ id, bundle, stdout: out.path }, CALL);
  await first.task.start({ id }, CALL);
  first.end();

  const again = await connect(await readFile(join(bundle, "address"), "utf8"));
  expect(await again.task.state({ id }, CALL)).toMatchObject({
    bundle,
    status: Status.RUNNING,
    stdout: out.path,
    terminal: false,
  });
  await out.has("up\n");
  const { stats } = await again.task.stats({ id }, CALL);
  expect(stats?.typeUrl).toBe("io.containerd.cgroups.v2.Metrics");
  const wait = again.task.wait({ id }, CALL);
  await again.task.kill({ id, signal: 15 }, CALL);
  expect((await wait).exitStatus).toBe(7);
  expect(await out.all).toBe("up\n");
  await again.task.delete({ id }, CALL);
  const over = again.task.wait({ id: sandbox }, CALL);
  await again.task.kill({ id: sandbox, signal: 9 }, CALL);
  await over;
  await again.task.delete({ id: sandbox }, CALL);
  await again.task.shutdown({ id: sandbox }, CALL).catch(() => undefined); // it goes at once
  again.end();
  expect(await stat(join(root, "bin/busybox"))).toBeDefined();
}, 240_000);
