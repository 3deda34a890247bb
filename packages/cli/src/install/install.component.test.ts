// `trine install` on roots of nodes: the real containerds read what it writes, systemd's tools its units.
import { execFile } from "node:child_process";
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse } from "smol-toml";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { POD_ANNOTATION_PATTERNS } from "@trine/annotations";
import { createImageStore } from "@trine/containerd-client";
import {
  KubeControlPlane,
  containerdBinaries,
  kubeBinaries,
  startContainerd,
} from "@trine/testkit";
import { runWith } from "../testing.ts";
import type { Ran } from "../testing.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../../../..");
const DEPLOY = join(ROOT, "deploy");

let dir: string;
let prefix: string;
let root: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-node-"));
  prefix = join(dir, "opt");
  await run(process.execPath, [join(ROOT, "scripts/install.ts")], {
    env: { ...process.env, PREFIX: prefix, DESTDIR: "" },
  });
}, 60_000);

afterAll(() => rm(dir, { recursive: true }));

beforeEach(async () => {
  root = await mkdtemp(join(dir, "root-"));
  await mkdir(join(root, "etc/containerd"), { recursive: true });
  await mkdir(join(root, "var/lib"), { recursive: true });
});

async function trine(...argv: readonly string[]): Promise<Ran> {
  const ran = await runWith("/nowhere", [...argv, "--root", root]);
  expect(ran).toMatchObject({ code: 0 });
  return ran;
}

function install(...argv: readonly string[]): Promise<Ran> {
  return trine("install", "--prefix", prefix, ...argv);
}

interface Dump {
  readonly plugins: Readonly<Record<string, Plugin>>;
}

interface Plugin {
  readonly disable?: boolean;
  readonly sandbox_image?: string;
  readonly containerd?: { readonly runtimes: Readonly<Record<string, unknown>> };
}

/** What a containerd makes of the root's files, where it looks for them. */
async function dump(containerd: string): Promise<Dump> {
  const script = 'mount --bind "$0" /etc/containerd && exec "$1" config dump';
  const args = ["--mount", "sh", "-c", script, join(root, "etc/containerd"), containerd];
  return parse((await run("unshare", args)).stdout) as unknown as Dump;
}

const config = (...lines: readonly string[]): Promise<void> =>
  writeFile(join(root, "etc/containerd/config.toml"), lines.join("\n"));

async function etc(): Promise<Record<string, string>> {
  const entries = await readdir(join(root, "etc"), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const paths = files.map((each) => join(each.parentPath, each.name));
  return Object.fromEntries(
    await Promise.all(paths.map(async (path) => [path, await readFile(path, "utf8")] as const)),
  );
}

const CRI_1 = "io.containerd.grpc.v1.cri";
const CRI_2 = "io.containerd.cri.v1.runtime";
const IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]';
const NRI_OFF = '[plugins."io.containerd.nri.v1.nri"]\n  disable = true\n  socket_path = "/x"';

test.each([
  ["1.6", CRI_1, ["version = 2", `[plugins."${CRI_1}"]`, '  sandbox_image = "mine/pause:1"']],
  ["2.4", CRI_2, ["version = 3", NRI_OFF, ""]],
  ["2.4", CRI_2, ["version = 3", IMPORTS, NRI_OFF, ""]],
  ["2.4", CRI_2, ["version = 2", `[plugins."${CRI_1}"]`, '  sandbox_image = "mine/pause:1"', ""]],
] as const)("containerd %s reads the handlers as %s: %j", async (version, plugin, lines) => {
  const containerd = join(await containerdBinaries(version), "containerd");
  await config(...lines);
  await mkdir(join(root, "usr/bin"), { recursive: true });
  await writeFile(join(root, "usr/bin/lxcfs"), "");
  const [files, before] = [await etc(), await dump(containerd)];

  await install("--containerd-version", version);
  const after = await dump(containerd);
  for (const name of ["trine-vm", "trine-microvm"]) {
    expect(after.plugins[plugin]?.containerd?.runtimes[name]).toMatchObject({
      runtime_type: `io.containerd.${name}.v2`,
      pod_annotations: [...POD_ANNOTATION_PATTERNS],
      privileged_without_host_devices: true,
      options: { ConfigPath: "/run/trine" },
    });
  }
  if (version === "2.4") {
    expect(after.plugins["io.containerd.nri.v1.nri"]).toMatchObject({ disable: false });
  }
  // All that is not ours is as it was.
  expect(after.plugins[plugin]?.sandbox_image).toBe(before.plugins[plugin]?.sandbox_image);
  expect(Object.keys(after.plugins[plugin]?.containerd?.runtimes ?? {}).sort()).toEqual(
    [
      ...Object.keys(before.plugins[plugin]?.containerd?.runtimes ?? {}),
      "trine-microvm",
      "trine-vm",
    ].sort(),
  );
  expect((await install("--containerd-version", version)).stdout).toMatch(/^nothing to change\n/);

  await trine("uninstall");
  expect(await etc()).toEqual(files);
  expect(await dump(containerd)).toEqual(before);
});

test("containerd says its version in the node's root; systemd's tools find the units on", async () => {
  await mkdir(join(root, "usr/bin"), { recursive: true });
  const containerd = join(await containerdBinaries("2.4"), "containerd");
  await copyFile(containerd, join(root, "usr/bin/containerd"));
  await install();
  const text = await readFile(join(root, "etc/containerd/config.toml"), "utf8");
  expect(text).toContain(`\nversion = 3\n`);
  // Programs go to the same place of the node's root.
  const launcher = join(root, prefix, "bin/trined");
  expect(await readFile(launcher, "utf8")).toContain(`${prefix}/lib/trine/trined.mjs`);
  const { stdout } = await run("systemctl", ["--root", root, "is-enabled", "trined.service"]);
  expect(stdout).toMatch(/^(linked|enabled)/);
});

/** Of a root whose systemd is a script that writes down what it is asked; what it says of a unit is `since`. */
async function withSystemd(since: string): Promise<() => Promise<string[]>> {
  await mkdir(join(root, "run/systemd/system"), { recursive: true });
  await mkdir(join(root, "bin"), { recursive: true });
  await cp("/bin/busybox", join(root, "bin/sh"));
  const script = `#!/bin/sh\necho "$*" >> /calls\ncase "$1" in show) echo "ActiveEnterTimestamp=${since}" ;; esac\n`;
  await writeFile(join(root, "bin/systemctl"), script);
  await chmod(join(root, "bin/systemctl"), 0o755);
  return async () => {
    const calls = await readFile(join(root, "calls"), "utf8").catch(() => "");
    await rm(join(root, "calls"), { force: true });
    return calls.split("\n").filter((line) => line !== "" && !line.startsWith("show "));
  };
}

test("what has changed is restarted when that is asked for, and nothing else is touched", async () => {
  await config("version = 2\n");
  const calls = await withSystemd("Sun 2020-11-22 06:00:01.123456 UTC");
  const told = await install("--containerd-version", "1.6");
  expect(told.stderr).toContain("systemctl daemon-reload; systemctl restart trined containerd");
  expect(await calls()).toEqual([]);
  // Also a later run knows what the first one has changed.
  await install("--containerd-version", "1.6", "--restart");
  expect(await calls()).toEqual([
    "daemon-reload",
    "restart trined.service",
    "restart containerd.service",
  ]);
  const again = await install("--containerd-version", "1.6", "--restart");
  expect(again.stdout).toBe("nothing to change\n");
  expect(await calls()).toEqual([]);
  await trine("uninstall", "--restart");
  expect(await calls()).toEqual([
    "daemon-reload",
    "restart containerd.service",
    "stop trined.service",
  ]);
});

test("a service that was restarted by hand is not restarted again", async () => {
  await config("version = 2\n");
  await install("--containerd-version", "1.6");
  const calls = await withSystemd("Sun 2099-11-22 06:00:01.123456 UTC");
  await install("--containerd-version", "1.6", "--restart");
  expect(await calls()).toEqual([]);
});

test("machines whose root is a volume have their image, as long as Trine is on the node", async () => {
  const containerd = await startContainerd({ version: "2.4", dir: join(root, "c") });
  const images = createImageStore(containerd.socket, "k8s.io");
  const names = async (): Promise<string[]> => {
    const { images: found } = await images.images.list({ filters: ["name~=trine.dev"] });
    return found.map(({ name }) => name);
  };
  try {
    await config("version = 3\n");
    const without = await install("--containerd-version", "2.4");
    expect(without.stderr).toContain("containerd does not run. Run trine install again");
    await mkdir(join(root, "run/containerd"), { recursive: true });
    await symlink(
      containerd.socket.slice(root.length),
      join(root, "run/containerd/containerd.sock"),
    );
    const line = "image   trine.dev/machine:latest: of machines whose root is a volume\n";
    expect((await install("--containerd-version", "2.4")).stdout).toContain(line);
    expect(await names()).toEqual(["trine.dev/machine:latest"]);
    expect((await install("--containerd-version", "2.4")).stdout).not.toContain(line);
    await trine("uninstall");
    expect(await names()).toEqual([]);
  } finally {
    images.close();
    expect(await containerd.stop()).toEqual([]);
  }
}, 600_000);

test(
  "the cluster takes the RuntimeClasses and what installs nodes",
  { timeout: 3_600_000 },
  async () => {
    const binaries = await kubeBinaries();
    const at = await mkdtemp(join(dir, "kube-"));
    const plane = await KubeControlPlane.start({
      dir: at,
      binaries,
      address: "127.0.0.1",
      apiOnly: true,
    });
    try {
      await config("version = 2\n");
      const flags = ["--containerd-version", "1.6", "--kubeconfig", plane.kubeconfig];
      expect((await install(...flags)).stdout).toContain("runtimeclass.node.k8s.io/trine-vm");
      const shipped = parseAllDocuments(
        await readFile(join(DEPLOY, "kubernetes/runtimeclasses.yaml"), "utf8"),
      ).map((each) => each.toJS() as { metadata: { name: string }; overhead: unknown });
      for (const { metadata, overhead } of shipped) {
        const found = await plane.kubectl.get("runtimeclass", metadata.name);
        expect(found).toMatchObject({ overhead });
      }
      await trine("uninstall", "--kubeconfig", plane.kubeconfig);
      expect(await plane.kubectl.run("get", "runtimeclass", "-o", "name")).toBe("");

      await plane.kubectl.run("apply", "-f", join(DEPLOY, "node/namespace.yaml"));
      const dry = ["--server-side", "--dry-run=server", "--validate=strict"];
      const taken = await plane.kubectl.run("apply", ...dry, "-k", join(DEPLOY, "node"));
      expect(taken).toMatch(
        /daemonset.apps\/trine-node-install serverside-applied \(server dry run\)/,
      );
      const job = await plane.kubectl.run("kustomize", join(DEPLOY, "node/uninstall"));
      const named = job.replaceAll("NODE-NAME", "n1");
      expect(await plane.kubectl.runWith(named, "apply", ...dry, "-f", "-")).toMatch(
        /job.batch\/trine-node-uninstall-n1/,
      );
    } finally {
      await plane.stop();
    }
  },
);
