// DataVolumes on a cluster: their claims are filled by the node, and what becomes of them is in their status.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { DataVolume } from "@trine/kube-types";
import type { KubeObject } from "@trine/testkit";
import { expect, test } from "vitest";
import { LONG_MS, type MachinesUnderTest, TINY_GUEST } from "./machines-under-test.ts";

type Volume = DataVolume & KubeObject;

const MIB = 1024 * 1024;
/** What `trine install` puts on nodes. */
const EMPTY_IMAGE = "trine.dev/machine:latest";
const BUSYBOX = "trine.test/busybox:1";

export function volumeTests(at: () => MachinesUnderTest): void {
  /** A directory of the node as a volume, for the claim of a DataVolume. */
  async function directory(name: string): Promise<string> {
    const path = join(at().cluster.node.dir, `volume-${name}`);
    await mkdir(path);
    await at().create({
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name },
      spec: {
        capacity: { storage: "1Gi" },
        accessModes: ["ReadWriteOnce"],
        storageClassName: name,
        persistentVolumeReclaimPolicy: "Retain",
        hostPath: { path },
      },
    });
    return path;
  }

  async function filled(name: string, source: object): Promise<Volume> {
    await at().create({
      apiVersion: "cdi.kubevirt.io/v1beta1",
      kind: "DataVolume",
      metadata: { name },
      spec: {
        source,
        storage: { storageClassName: name, resources: { requests: { storage: "256Mi" } } },
      },
    });
    return at().kubectl.until<Volume>(
      `${name} is filled`,
      ["datavolume", name],
      ({ status }) => status?.phase === "Succeeded",
      2 * LONG_MS,
    );
  }

  test(
    "a DataVolume is filled from a URL, and from an image",
    async () => {
      const { cluster, kubectl } = at();
      await cluster.node.containerd.ctr("images", "tag", BUSYBOX, EMPTY_IMAGE);
      const disk = Buffer.concat([randomBytes(MIB), Buffer.alloc(3 * MIB)]);
      const packed = gzipSync(disk);
      const server = createServer((_request, response) => response.end(packed));
      const { gateway } = cluster.node.containerd.bridge;
      await new Promise<void>((resolve) => server.listen(0, gateway, resolve));
      const { port } = server.address() as AddressInfo;
      try {
        const path = await directory("from-url");
        const checksum = `sha256:${createHash("sha256").update(packed).digest("hex")}`;
        const url = `http://${gateway}:${port}/disk.gz`;
        const { status } = await filled("from-url", { http: { url, checksum } });
        expect(status).toMatchObject({ phase: "Succeeded", progress: "100.0%" });
        const made = await readFile(join(path, "disk.img"));
        expect(made.length).toBe(256 * MIB);
        expect(made.subarray(0, disk.length).equals(disk)).toBe(true);
      } finally {
        server.close();
        server.closeAllConnections();
      }
      const path = await directory("from-image");
      await filled("from-image", { registry: { url: `docker://${TINY_GUEST}` } });
      expect((await readFile(join(path, "disk.img"))).subarray(510, 512).toString("hex")).toBe(
        "55aa",
      );
      const columns = await kubectl.run("get", "dv", "from-image", "--no-headers");
      expect(columns).toMatch(/Succeeded +100\.0%/);
      await kubectl.run(
        "wait",
        "--for=delete",
        "pod",
        "--selector=trine.dev/fills",
        "--timeout=60s",
      );
      await kubectl.run("delete", "dv", "from-url", "from-image", "--timeout=60s");
      await kubectl.run("delete", "pv", "from-url", "from-image", "--timeout=60s");
    },
    5 * LONG_MS,
  );
}
