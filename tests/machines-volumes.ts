// DataVolumes on a cluster: their claims are filled by the node, and what becomes of them is in their status.
import { createHash, randomBytes } from "node:crypto";
import { open, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { gzipSync } from "node:zlib";
import { runCommand } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  LONG_MS,
  type MachinesUnderTest,
  READY,
  TINY_GUEST,
  instance,
  instanceSpec,
  machine,
} from "./machines-under-test.ts";
import { MIB, NODE, VolumesUnderTest } from "./volumes-under-test.ts";

/** Noise, and a hole. */
const DISK = Buffer.concat([randomBytes(8 * MIB), Buffer.alloc(8 * MIB)]);

export function volumeTests(at: () => MachinesUnderTest): void {
  const packed = gzipSync(DISK);
  const server = createServer((_request, response) => response.end(packed));
  let url: string;

  beforeAll(async () => {
    const { node } = at().cluster;
    const { gateway } = node.containerd.bridge;
    await new Promise<void>((resolve) => server.listen(0, gateway, resolve));
    const { port } = server.address() as AddressInfo;
    url = `http://${gateway}:${port}/disk.gz`;
  });

  afterAll(() => {
    server.close();
    server.closeAllConnections();
  });

  async function isDisk(path: string): Promise<boolean> {
    await using handle = await open(path, "r");
    const { buffer } = await handle.read(Buffer.alloc(DISK.length), 0, DISK.length, 0);
    return buffer.equals(DISK);
  }

  test(
    "a DataVolume is filled from a URL, from an image, from another claim, and blank",
    async () => {
      const { kubectl } = at();
      await using volumes = new VolumesUnderTest(at());
      const [fromUrl, fromImage, fromClaim, blank] = [
        await volumes.directory("from-url"),
        await volumes.directory("from-image"),
        await volumes.directory("from-claim"),
        await volumes.directory("blank"),
      ];
      const checksum = `sha256:${createHash("sha256").update(packed).digest("hex")}`;
      await volumes.fill("from-url", { http: { url, checksum } });
      await volumes.fill("from-image", { registry: { url: `docker://${TINY_GUEST}` } });
      // It waits for the one that it is made of.
      await volumes.fill("from-claim", { pvc: { namespace: "default", name: "from-url" } });
      await volumes.fill("blank", { blank: {} });
      for (const name of ["from-url", "from-image", "from-claim", "blank"]) {
        const { status } = await volumes.untilPhase(name, "Succeeded");
        expect(status).toMatchObject({ progress: "100.0%" });
      }
      const made = join(fromUrl, "disk.img");
      expect((await readFile(made)).length).toBe(256 * MIB);
      expect(await isDisk(made)).toBe(true);
      expect(await isDisk(join(fromClaim, "disk.img"))).toBe(true);
      const head = (await readFile(join(fromImage, "disk.img"))).subarray(510, 512);
      expect(head.toString("hex")).toBe("55aa");
      const zeros = await readFile(join(blank, "disk.img"));
      expect(zeros.equals(Buffer.alloc(256 * MIB))).toBe(true);
      const columns = await kubectl.run("get", "dv", "from-image", "--no-headers");
      expect(columns).toMatch(/Succeeded +100\.0%/);
    },
    5 * LONG_MS,
  );

  test(
    "block volumes are bound together and filled when a machine is to have them, where that may run, and it boots from one",
    async () => {
      const { kubectl } = at();
      await using volumes = new VolumesUnderTest(at());
      await volumes.storageClass("for-root", "WaitForFirstConsumer");
      await volumes.block("for-root", 300 * MIB);
      const registry = { url: `docker://${TINY_GUEST}` };
      await volumes.fill("for-root", { registry }, { volumeMode: "Block" });
      await volumes.untilPhase("for-root", "WaitForFirstConsumer");
      await volumes.storageClass("for-data", "WaitForFirstConsumer");
      await volumes.block("for-data", 300 * MIB);
      await volumes.fill("for-data", { blank: {} }, { volumeMode: "Block" });
      await volumes.untilPhase("for-data", "WaitForFirstConsumer");
      const kept = "cdi.kubevirt.io/storage.pod.retainAfterCompletion=true";
      await kubectl.run("annotate", "dv", "for-root", kept);
      const disks = ["root", "data"].map((name) => ({
        name,
        dataVolume: { name: `for-${name}` },
      }));
      const nodeSelector = { "kubernetes.io/hostname": NODE };
      await at().create(
        instance("first", instanceSpec({ spec: { volumes: disks, nodeSelector } })),
      );
      const { metadata } = await volumes.untilPhase("for-root", "Succeeded");
      await volumes.untilPhase("for-data", "Succeeded");
      const filler = [`--selector=trine.dev/fills=${metadata.uid ?? ""}`, "-o"];
      const claims = "jsonpath={.items[*].spec.volumes[*].persistentVolumeClaim.claimName}";
      expect(await kubectl.run("get", "pods", ...filler, claims)).toBe("for-root for-data");
      await at().untilPhase("first", "Running");
      await at().untilLog("first", READY);
      await at().delete("vmi", "first");
    },
    5 * LONG_MS,
  );

  test(
    "a golden image of another namespace is copied for who may, into a file system and onto a device",
    async () => {
      const golden = "golden-images";
      const source = { pvc: { namespace: golden, name: "golden" } };
      await using volumes = new VolumesUnderTest(at());
      await volumes.namespace(golden);
      await volumes.directory("golden");
      const copy = await volumes.directory("of-golden");
      const made = await volumes.directory("by-machine");
      const device = await volumes.block("on-device", 300 * MIB);
      // What was there before is not the copy's.
      await device.write("old", 12 * MIB);
      const resources = { requests: { storage: "256Mi" } };
      const cdi = (kind: string, name: string, spec: object): object => ({
        apiVersion: "cdi.kubevirt.io/v1beta1",
        ...{ kind, metadata: { namespace: golden, name }, spec },
      });
      const storage = { storageClassName: "golden", resources };
      await at().create(
        cdi("DataVolume", "golden", { source: { http: { url } }, storage }),
        cdi("DataSource", "debian", { source }),
        ...mayMakeVolumes("stranger"),
      );
      const refused = volumes.fill("of-golden", source, {}, "stranger");
      await expect(refused).rejects.toThrow(
        `User stranger has insufficient permissions in clone source namespace ${golden}`,
      );
      // They wait for what they are made of.
      await volumes.fill("on-device", source, { volumeMode: "Block" });
      const sourceRef = { kind: "DataSource", namespace: golden, name: "debian" };
      const own = { storageClassName: "by-machine", resources };
      await at().create({
        apiVersion: "cdi.kubevirt.io/v1beta1",
        ...{ kind: "DataVolume", metadata: { name: "of-golden" } },
        spec: { sourceRef, storage: { storageClassName: "of-golden", resources } },
      });
      const template = { metadata: { name: "by-machine" }, spec: { sourceRef, storage: own } };
      const root = { name: "root", dataVolume: { name: "by-machine" } };
      const spec = instanceSpec({ spec: { volumes: [root] } });
      await at().create(
        ...mayCopyFrom(golden, "default"),
        machine("of-template", "Halted", spec, { dataVolumeTemplates: [template] }),
      );
      await at().kubectl.run("wait", "--for=create", "dv/by-machine", "--timeout=60s");
      for (const name of ["of-golden", "on-device", "by-machine"]) {
        await volumes.untilPhase(name, "Succeeded");
      }
      await at().delete("vm", "of-template");
      expect(await isDisk(join(copy, "disk.img"))).toBe(true);
      expect(await isDisk(join(made, "disk.img"))).toBe(true);
      expect(await isDisk(device.path)).toBe(true);
      const givers = ["--selector=trine.dev/fills", "--timeout=60s"];
      await at().kubectl.run("wait", "-n", golden, "--for=delete", "pod", ...givers);
    },
    5 * LONG_MS,
  );

  test(
    "a URL that is not there is told with its cause, asked as kubelet has it and not hot, and filled once it is there",
    async () => {
      await using volumes = new VolumesUnderTest(at());
      const path = await volumes.directory("lost");
      let asked = 0;
      let isThere = false;
      const { gateway } = at().cluster.node.containerd.bridge;
      const other = createServer((_request, response) => {
        asked += 1;
        if (isThere) response.end(packed);
        else response.writeHead(404).end();
      });
      await new Promise<void>((resolve) => other.listen(0, gateway, resolve));
      const { port } = other.address() as AddressInfo;
      try {
        await volumes.fill("lost", { http: { url: `http://${gateway}:${port}/disk.gz` } });
        const said = await volumes.until("lost", "was tried again", ({ status }) =>
          status?.conditions?.some(({ message }) => /404/.test(message ?? "")) === true
            ? (status.restartCount ?? 0) >= 2
            : false,
        );
        expect(volumes.condition(said, "Running")).toMatch(/^False Error: .*404/);
        expect(said.status?.phase).toBe("ImportInProgress");
        // One request for each time that kubelet has started it: the wait between them is kubelet's.
        expect(asked).toBeLessThanOrEqual((said.status?.restartCount ?? 0) + 2);
        const events = await at().events("lost");
        expect(events.filter(({ reason }) => reason === "ImportFailed")).toEqual([
          expect.objectContaining({ message: expect.stringContaining("404") as string }),
        ]);
        isThere = true;
        await volumes.untilPhase("lost", "Succeeded");
        expect(await isDisk(join(path, "disk.img"))).toBe(true);
      } finally {
        other.closeAllConnections();
        other.close();
      }
    },
    5 * LONG_MS,
  );

  test(
    "a file system that is full is said with the remedy, is left clean, and filled when there is room",
    async () => {
      await using volumes = new VolumesUnderTest(at());
      const path = await volumes.small("full", 32 * MIB);
      await rm(join(path, "lost+found"), { recursive: true });
      await writeFile(join(path, "others"), randomBytes(20 * MIB));
      await volumes.fill("full", { http: { url } });
      const said = await volumes.until("full", "has failed", (volume) =>
        volumes.condition(volume, "Running").startsWith("False Error"),
      );
      expect(volumes.condition(said, "Running")).toMatch(
        /no space is left on the disk: make room on the volume/,
      );
      const events = await at().events("full");
      expect(events).toContainEqual(
        expect.objectContaining({
          type: "Warning",
          reason: "ImportFailed",
          message: expect.stringContaining("no space is left") as string,
        }),
      );
      // The next try has begun by now, or ended: each leaves nothing.
      await pollUntil("a try is over", { ms: LONG_MS, everyMs: 100 }, async () =>
        (await readdir(path)).join() === "others" ? true : undefined,
      );
      await rm(join(path, "others"));
      await volumes.untilPhase("full", "Succeeded");
      expect(await isDisk(join(path, "disk.img"))).toBe(true);
      await runCommand("sync", ["-f", path]);
    },
    5 * LONG_MS,
  );
}

const RBAC = "rbac.authorization.k8s.io";

/** Rights to make DataVolumes here, and none elsewhere. */
function mayMakeVolumes(user: string): object[] {
  const subject = { kind: "User", name: user, apiGroup: RBAC };
  return mayCreate("datavolumes", { name: user }, subject);
}

/** As docs/reference/data-volumes.md has it. */
function mayCopyFrom(namespace: string, account: string): object[] {
  const subject = { kind: "ServiceAccount", name: account, namespace: "default" };
  return mayCreate("datavolumes/source", { namespace, name: "copy-images" }, subject);
}

function mayCreate(
  resource: string,
  metadata: { namespace?: string; name: string },
  subject: object,
): object[] {
  const apiVersion = `${RBAC}/v1`;
  const rule = { apiGroups: ["cdi.kubevirt.io"], resources: [resource], verbs: ["create"] };
  const roleRef = { apiGroup: RBAC, kind: "Role", name: metadata.name };
  return [
    { apiVersion, kind: "Role", metadata, rules: [rule] },
    { apiVersion, kind: "RoleBinding", metadata, roleRef, subjects: [subject] },
  ];
}
