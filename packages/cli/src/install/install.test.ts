import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "smol-toml";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runWith } from "../testing.ts";
import type { Ran } from "../testing.ts";
import { makeGvisor, makePrefix, makeRoot, memoryDir, treeOf } from "./testing.ts";

const RANCHER = "/var/lib/rancher/k3s/agent/etc/containerd";
const MICROK8S = "/var/snap/microk8s";
const CRI = "io.containerd.grpc.v1.cri";
/** Five runs of the whole command each. */
const SLOW = { timeout: 60_000 };
const LXCFS = { "/usr/bin/lxcfs": "" };

let dir: string;
let root: string;
let prefix: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-install-"));
  [root, prefix] = [await memoryDir(), join(dir, "prefix")];
  await makePrefix(prefix);
});
afterEach(async () => {
  for (const each of [dir, root]) await rm(each, { recursive: true });
});

async function trine(...argv: readonly string[]): Promise<Ran> {
  return runWith("/nowhere", [...argv, "--root", root]);
}

async function installed(...argv: readonly string[]): Promise<Record<string, string>> {
  const ran = await trine("install", "--prefix", prefix, ...argv);
  expect(ran).toMatchObject({ code: 0 });
  return treeOf(root);
}

/** Without what is below the prefix. */
function changedPaths(before: Record<string, string>, after: Record<string, string>): string[] {
  const paths = Object.keys(after).filter((path) => before[path] !== after[path]);
  return paths.filter((path) => !path.startsWith(prefix) && after[path]?.endsWith("/") !== true);
}

const MAIN = "/etc/containerd/config.toml";
const NODES: readonly (readonly [
  what: string,
  files: Record<string, string>,
  version: string[],
  target: string,
])[] = [
  ["1.6", { [MAIN]: "version = 2\n" }, ["1.6"], MAIN],
  ["1.6 without a line end", { [MAIN]: "version = 2" }, ["1.6"], MAIN],
  ["1.6 with a CRI section", { [MAIN]: `version = 2\n[plugins."${CRI}"]\nx = 1\n` }, ["1.6"], MAIN],
  ["1.6 without a file", {}, ["1.6"], MAIN],
  [
    "1.7 with NRI off and lxcfs",
    {
      [MAIN]: `version = 2\n[plugins]\n  [plugins."io.containerd.nri.v1.nri"]\n    disable = true\n`,
      ...LXCFS,
    },
    ["1.7"],
    MAIN,
  ],
  [
    "1.7 whose CRI section is imported",
    {
      [MAIN]: 'version = 2\nimports = ["/etc/containerd/more/*.toml"]\n',
      "/etc/containerd/more/a.toml": `version = 2\n[plugins."${CRI}"]\nx = 1\n`,
      "/etc/containerd/more/b.toml": "version = 2\noom_score = 1\n",
    },
    ["1.7"],
    "/etc/containerd/more/a.toml",
  ],
  ["2.1", { [MAIN]: "version = 3\n", ...LXCFS }, ["2.1"], MAIN],
  ["2.x without a file", LXCFS, ["2.4"], MAIN],
  [
    "2.x that imports conf.d",
    { [MAIN]: 'version = 3\nimports = ["conf.d/*.toml"]\n', ...LXCFS },
    ["2.4"],
    "/etc/containerd/conf.d/trine.toml",
  ],
  ["2.x with a file of version 2", { [MAIN]: "version = 2\n" }, ["2.0"], MAIN],
  [
    "k3s that imports",
    {
      [`${RANCHER}/config.toml`]: `version = 3\nimports = ["${RANCHER}/config-v3.toml.d/*.toml"]\n`,
    },
    [],
    `${RANCHER}/config-v3.toml.d/trine.toml`,
  ],
  ["k3s", { [`${RANCHER}/config.toml`]: "version = 3\n" }, [], `${RANCHER}/config-v3.toml.tmpl`],
  [
    "k3s with containerd 1.7 and a template",
    {
      [`${RANCHER}/config.toml`]: `version = 2\nimports = ["${RANCHER}/config.toml.d/*.toml"]\n`,
      [`${RANCHER}/config.toml.tmpl`]: '{{ template "base" . }}\n[mine]\n',
    },
    [],
    `${RANCHER}/config.toml.tmpl`,
  ],
  [
    "microk8s",
    {
      [`${MICROK8S}/77/args/containerd-template.toml`]:
        'version = 2\n[plugins."x"]\nsnapshotter = "${SNAPSHOTTER}"\n',
      [`${MICROK8S}/current`]: "-> 77",
    },
    [],
    `${MICROK8S}/77/args/containerd-template.toml`,
  ],
  ["k0s", { "/etc/k0s/containerd.toml": "version = 2\n" }, [], "/etc/k0s/containerd.d/trine.toml"],
];

test.each(NODES)(
  "%s: handlers, twice the same, and back to the byte",
  SLOW,
  async (_, files, version, target) => {
    await makeRoot(root, files);
    await makeGvisor(join(dir, "gvisor"));
    const before = await treeOf(root);
    const flags = version.flatMap((each) => ["--containerd-version", each]);
    const dry = await trine("install", "--prefix", prefix, ...flags, "--dry-run");
    expect(dry).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("containerd: ") as string,
    });
    expect(await treeOf(root)).toEqual(before);

    const after = await installed(...flags, "--gvisor", join(dir, "gvisor"));
    const text = after[target]?.slice("644 ".length) ?? "";
    for (const name of ["trine-vm", "trine-microvm", "gvisor"]) {
      expect(text).toContain(`.containerd.runtimes.${name}]`);
    }
    if (target.endsWith(".toml")) parse(text); // throws where containerd would
    expect(changedPaths(before, after)).toEqual(
      expect.arrayContaining([
        target,
        "/etc/systemd/system/multi-user.target.wants/trined.service",
        "/etc/trine/runtimeclasses.yaml",
        "/etc/containerd/runsc.toml",
      ]),
    );
    // What is asked for no more stays as it was asked for.
    const again = await trine("install", "--prefix", prefix, ...flags);
    expect(again).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^nothing to change\n/) as string,
    });
    expect(await treeOf(root)).toEqual(after);

    expect(await trine("uninstall")).toMatchObject({ code: 0 });
    expect(await treeOf(root)).toEqual(before);
    expect(await trine("uninstall")).toMatchObject({ code: 0, stdout: "nothing to undo\n" });
  },
);

test("containers see their limits where lxcfs and NRI are; NRI that is off is turned on, and back", async () => {
  const config = `version = 2\n[plugins."io.containerd.nri.v1.nri"]\n  disable = true # why\n`;
  await makeRoot(root, { [MAIN]: config, ...LXCFS });
  const after = await installed("--containerd-version", "2.0");
  expect(after[MAIN]).toContain("  disable = false # trine install: was true # why\n");
  expect(after["/etc/trine/config.yaml"]).toContain("lxcfs:\n  enabled: true\n");
  expect(after).toHaveProperty(["/etc/systemd/system/multi-user.target.wants/trine-lxcfs.service"]);
  const without = await installed("--containerd-version", "2.0", "--no-lxcfs");
  expect(without[MAIN]).toContain("  disable = true # why\n");
  expect(without["/etc/trine/config.yaml"]).not.toContain("lxcfs");
  expect(without).not.toHaveProperty([
    "/etc/systemd/system/multi-user.target.wants/trine-lxcfs.service",
  ]);
});

test("trined's configuration keeps what is in it; a section that says otherwise is refused with what is wanted", async () => {
  const mine = "apiVersion: config.trine.dev/v1alpha1\nlog:\n  level: debug\n";
  await makeRoot(root, { "/etc/trine/config.yaml": mine, [MAIN]: "version = 3\n", ...LXCFS });
  const after = await installed("--containerd-version", "2.4");
  expect(after["/etc/trine/config.yaml"]).toMatch(new RegExp(`^644 ${mine}# >>> trine install`));
  expect(await trine("uninstall")).toMatchObject({ code: 0 });
  await makeRoot(root, { "/etc/trine/config.yaml": `${mine}lxcfs: {enabled: false}\n` });
  const before = await treeOf(root);
  expect(await trine("install", "--prefix", prefix, "--containerd-version", "2.4")).toMatchObject({
    code: 5,
    stderr: expect.stringMatching(/section lxcfs of its own.*lxcfs: enabled: true/) as string,
  });
  expect(await treeOf(root)).toEqual(before);
});

test("kubelet's command gets the gateway's socket, whoever says it last", async () => {
  const unit = "[Service]\nExecStart=/usr/bin/kubelet\n";
  const dropIn =
    "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet \\\n  $KUBELET_ARGS --container-runtime-endpoint=unix:///x\n";
  await makeRoot(root, {
    [MAIN]: "version = 2\n",
    "/usr/lib/systemd/system/kubelet.service": unit,
    "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": dropIn,
  });
  const before = await treeOf(root);
  const after = await installed("--containerd-version", "1.6", "--gateway");
  const path = "/etc/systemd/system/kubelet.service.d/90-trine.conf";
  expect(after[path]).toContain(
    "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_ARGS " +
      "--container-runtime-endpoint=unix:///x --container-runtime-endpoint=unix:///run/trine-cri.sock\n",
  );
  expect(after["/etc/trine/config.yaml"]).toContain("socket: /run/containerd/containerd.sock");
  const back = await installed("--containerd-version", "1.6", "--no-gateway");
  expect(back).not.toHaveProperty([path]);
  expect(await trine("uninstall")).toMatchObject({ code: 0 });
  expect(await treeOf(root)).toEqual(before);
});

test.each([
  ["a configuration of version 1", { [MAIN]: "[plugins.cri]\n" }, /containerd config migrate/],
  ["no TOML", { [MAIN]: "version = \n" }, /config.toml is no TOML/],
  [
    "tables that cannot be appended",
    { [MAIN]: `version = 2\nplugins = { "${CRI}" = { containerd = {} } }\n` },
    /cannot be appended to it.*by hand/,
  ],
  [
    "two products",
    { [`${RANCHER}/config.toml`]: "version = 2\n", "/etc/k0s/containerd.toml": "version = 2\n" },
    /looks like k3s and k0s: say which by --node-kind/,
  ],
])("%s is refused, and nothing is changed", async (_, files, message) => {
  await makeRoot(root, files);
  const before = await treeOf(root);
  const ran = await trine("install", "--prefix", prefix, "--containerd-version", "1.7");
  expect(ran).toMatchObject({ code: 2, stderr: expect.stringMatching(message) as string });
  expect(await treeOf(root)).toEqual(before);
});

test("handlers that are there by hand are left alone", async () => {
  const runtime = `[plugins."${CRI}".containerd.runtimes.trine-vm]\nruntime_type = "x"\n`;
  await makeRoot(root, { [MAIN]: `version = 2\n${runtime}` });
  const ran = await trine("install", "--prefix", prefix, "--containerd-version", "1.6");
  expect(ran).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/trine-vm: configured by hand/) as string,
  });
  expect((await treeOf(root))[MAIN]).toBe(`644 version = 2\n${runtime}`);
});

test("a file of somebody else's in our place comes back; what somebody changed since stays theirs", async () => {
  const theirs = "# my own classes\n";
  await makeRoot(root, { [MAIN]: "version = 2\n", "/etc/trine/runtimeclasses.yaml": theirs });
  const after = await installed("--containerd-version", "1.6");
  expect(after["/etc/trine/runtimeclasses.yaml"]).toContain("trine-vm");
  await makeRoot(root, { [MAIN]: `${after[MAIN]?.slice(4) ?? ""}oom_score = 1\n` });
  const ran = await trine("uninstall");
  expect(ran).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/was changed since/) as string,
  });
  const back = await treeOf(root);
  expect(back["/etc/trine/runtimeclasses.yaml"]).toBe(`644 ${theirs}`);
  expect(back[MAIN]).toBe("644 version = 2\noom_score = 1\n");
});

test("while pods run nothing is taken away", async () => {
  await makeRoot(root, { [MAIN]: "version = 2\n" });
  await installed("--containerd-version", "1.6");
  await makeRoot(root, { "/run/trine/pods/a/lock": "" });
  const before = await treeOf(root);
  expect(await trine("uninstall")).toMatchObject({
    code: 5,
    stderr: expect.stringMatching(/1 pods of Trine run/) as string,
  });
  expect(await treeOf(root)).toEqual(before);
});
