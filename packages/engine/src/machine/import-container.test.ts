import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { importFiles, importSpec, makeImportFiles } from "./import-container.ts";

const IMPORTER = { node: "/opt/node/bin/node", program: "/opt/trine/trined.mjs" };
const FILES = importFiles("/run/trine/pods/p", "import-root");
const AT = { files: FILES, bundle: "/run/containerd/c1", system: ["/usr"] };

/** As containerd makes it of a pod that wants more than its due. */
const SPEC = {
  root: { path: "rootfs" },
  mounts: [
    { destination: "/volume", source: "/vol", type: "bind" },
    { destination: "/usr", source: "/vol/usr", type: "bind" },
  ],
  process: {
    args: ["/bin/sh", "order"],
    env: ["NODE_OPTIONS=--import=/evil.mjs", "LD_PRELOAD=/evil.so", "https_proxy=http://p:1"],
    user: { uid: 1000, gid: 1000 },
    terminal: true,
    capabilities: { bounding: ["CAP_SYS_MODULE"] },
    rlimits: [{ type: "RLIMIT_NOFILE", hard: 5, soft: 5 }],
  },
  linux: { seccomp: {}, resources: { memory: { limit: 5 } }, namespaces: [] },
};

test("program, root, user and environment are the node's; volumes, limits and network the pod's", () => {
  const spec = importSpec(SPEC, IMPORTER, AT);
  expect(spec["root"]).toEqual({ path: FILES.root, readonly: true });
  expect(spec["process"]).toMatchObject({
    args: ["/trine/node", "/trine/program/trined.mjs", "import-volume", "order"],
    env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "https_proxy=http://p:1"],
    user: { uid: 0, gid: 0 },
    terminal: false,
    rlimits: SPEC.process.rlimits,
  });
  expect(JSON.stringify(spec["process"])).not.toContain("CAP_SYS_MODULE");
  expect(spec["linux"]).toMatchObject({ resources: { memory: { limit: 5 } }, namespaces: [] });
  const mounts = spec["mounts"] as { destination: string; source: string; options?: string[] }[];
  expect(mounts.map(({ destination, source }) => `${destination} ${source}`)).toEqual([
    "/volume /vol",
    "/usr /usr",
    "/etc/ld.so.cache /etc/ld.so.cache",
    "/trine/program /opt/trine",
    "/trine/node /opt/node/bin/node",
    "/trine/image /run/containerd/c1/rootfs",
    `/trine/say ${FILES.say}`,
  ]);
  expect(mounts.filter(({ options }) => options?.includes("ro") === true)).toHaveLength(5);
});

test("made once more it is the same", () => {
  const once = importSpec(SPEC, IMPORTER, AT);
  expect(importSpec(once, IMPORTER, AT)).toEqual(once);
});

test("a container without an order is refused", () => {
  const spec = { ...SPEC, process: { args: [] } };
  expect(() => importSpec(spec, IMPORTER, AT)).toThrow(/last argument is the order/);
});

test("what an earlier process of it said is gone when its directories are made", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-imports-"));
  const files = importFiles(dir, "a");
  await makeImportFiles(files);
  await writeFile(join(files.say, "word.json"), "{}");
  await makeImportFiles(files);
  expect(await readdir(files.say)).toEqual([]);
  await rm(dir, { recursive: true });
});
