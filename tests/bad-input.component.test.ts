// What users and images say wrongly: one clear error, nothing left behind, nothing of the host touched.
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { rawDiskBytes } from "@trine/disk-images/testing";
import type { LeakCheck } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { REFUSED, fillLinkedLayer, hostDirectory, pack, watchFile } from "./hostile-images.ts";
import { NodeUnderTest } from "./node-under-test.ts";

const SECRET = Buffer.concat([rawDiskBytes("mbr"), Buffer.from("the host's own")]);

describe.each(["1.6", "2.4"] as const)("bad input under containerd %s", (version) => {
  let at: NodeUnderTest;
  let host: string;
  let leaks: LeakCheck;

  beforeAll(async () => {
    at = await NodeUnderTest.start(version);
    host = await hostDirectory();
    await writeFile(join(host, "secret"), SECRET);
    leaks = await at.podLeakCheck();
  }, 1_800_000);

  afterAll(async () => {
    await at.end();
    await rm(host, { recursive: true });
  });

  async function expectNothingLeft(): Promise<void> {
    expect(await leaks.leaks()).toEqual([]);
    expect(await at.views()).toEqual([]);
    expect((await at.runtime.listPodSandbox({})).items).toEqual([]);
    // Not toEqual: the difference of two disks is nothing to look at.
    expect((await readFile(join(host, "secret"))).equals(SECRET)).toBe(true);
    expect(await readdir(host)).toEqual(["secret"]);
  }

  test.each(REFUSED.map((image, number) => ({ ...image, number })))(
    "refuses $name",
    async ({ number, fill, says }) => {
      const kind = `refused-${number}`;
      const image = await pack(kind, at.node.dir, (root) => fill(root, host));
      await at.node.containerd.importImage(image);
      const watch = await watchFile(join(host, "secret"));
      await expect(at.machine(kind, { image: image.name })).rejects.toThrow(says);
      expect(await watch.stop()).toBe(false);
      await expectNothingLeft();
    },
  );

  test.each(["bios", "uefi"])(
    "an image whose /.trine holds links to the host harms nothing (%s)",
    async (firmware) => {
      const image = await pack(`links-${firmware}`, at.node.dir, (root) =>
        fillLinkedLayer(root, host),
      );
      await at.node.containerd.importImage(image);
      const watch = await watchFile(join(host, "secret"));
      const annotations = { "trine.dev/firmware": firmware };
      const pod = await at.machine(`links-${firmware}`, { image: image.name, annotations });
      expect((await at.view(pod)).machine?.state).toBe("running");
      expect(await watch.stop()).toBe(false);
      await at.node.remove(pod);
      await expectNothingLeft();
    },
  );

  test.each([
    ["cpus", "0", /"0".*1 to 255/],
    ["cpus", "-1", /"-1".*1 to 255/],
    ["cpus", "1.5", /"1\.5".*1 to 255/],
    ["cpus", "256", /"256".*1 to 255/],
    ["cpus", "99999999999999999999", /"9+".*1 to 255/],
    ["cpus", "", /"".*1 to 255/],
    ["memory", "lots", /"lots".*16Mi to 16Ti/],
    ["memory", "1Ki", /"1Ki".*16Mi to 16Ti/],
    ["memory", "99Ei", /"99Ei".*16Mi to 16Ti/],
    ["root-size", "-1Gi", /"-1Gi".*1Mi to 64Ti/],
    ["firmware", "efi", /"efi".*"bios" or "uefi"/],
    ["display", "true", /"true".*"on" or "off"/],
    ["hostname", "Not A Name", /"Not A Name".*DNS name/],
    ["machine", "../../etc", /"\.\.\/\.\.\/etc".*DNS label/],
    ["cpu-model", "max,+vmx", /"max,\+vmx".*letters, digits/],
    ["uuid", "1234", /"1234".*8-4-4-4-12/],
    ["disks", "data,tools", /is not a list.*at most 16 disks/],
    [
      "disks",
      "- {name: a, empty: true, size: 1Gi, bus: ide}",
      /disk 1 \("a"\): bus "ide": "virtio" or "scsi"/,
    ],
    [
      "disks",
      "- {name: a, file: /etc/../../etc/shadow}",
      /file "\/etc.*an absolute path in the container/,
    ],
    ["user-data", "packages: [nginx]", /\(17 bytes\).*#cloud-config/],
    ["user-data", `#cloud-config\n${"x".repeat(131_072)}`, /has 131086 bytes.*131072/],
    ["meta-data", "- a\n- b\n", /is not a mapping/],
    ["meta-data", "{a: [", /is not YAML/],
    ["ssh-keys", "ssh-ed25519 nonsense", /line 1/],
    ["memroy", "1Gi", /"1Gi".*trine\.dev\/memory/],
  ])("a pod with trine.dev/%s: %j is refused with what is allowed", async (name, value, says) => {
    const key = `trine.dev/${name}`;
    const failed = at.machine("wrong", { annotations: { [key]: value } });
    await expect(failed).rejects.toThrow(says);
    await expect(failed).rejects.toThrow(`annotation ${key}: `);
    await expectNothingLeft();
  });

  test("several wrong annotations are all told at once", async () => {
    const annotations = { "trine.dev/cpus": "none", "trine.dev/display": "maybe" };
    await expect(at.machine("wrong", { annotations })).rejects.toThrow(
      /trine\.dev\/cpus.*trine\.dev\/display/s,
    );
    await expectNothingLeft();
  });

  test("a root disk smaller than its image is refused", async () => {
    await expect(
      at.machine("small", { annotations: { "trine.dev/root-size": "1Mi" } }),
    ).rejects.toThrow(/trine\.dev\/root-size.*only enlarges/);
    await expectNothingLeft();
  });
});
