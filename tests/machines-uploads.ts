// Uploads on a cluster as virtctl makes them: through the API server, the proxy and the node's door into a volume.
import { randomBytes } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { VirtctlUpload, runCommand } from "@trine/testkit";
import { makeToken } from "@trine/virt-api/testing";
import { expect, test } from "vitest";
import { LONG_MS, type MachinesUnderTest } from "./machines-under-test.ts";
import { MIB, VolumesUnderTest } from "./volumes-under-test.ts";

export function uploadTests(at: () => MachinesUnderTest): void {
  function uploadTo(name: string): VirtctlUpload {
    const { virtctl, cluster } = at();
    return new VirtctlUpload(virtctl, {
      ...{ namespace: "default", name, storageClass: name, size: "64Mi" },
      proxy: cluster.control.uploadProxy,
      ms: LONG_MS,
    });
  }

  /** A disk as QCOW2, and what it holds. */
  async function disk(): Promise<{ readonly raw: Buffer; readonly qcow2: Buffer }> {
    const file = join(at().cluster.node.dir, "upload.raw");
    const raw = Buffer.concat([randomBytes(2 * MIB), Buffer.alloc(14 * MIB)]);
    await writeFile(file, raw);
    await runCommand("qemu-img", ["convert", "-O", "qcow2", "-c", file, `${file}.qcow2`]);
    return { raw, qcow2: await readFile(`${file}.qcow2`) };
  }

  /** A token as ours would be, but for what it is of. */
  async function tokenOf(claims: { readonly uid: string; readonly expires: number }) {
    const words = ["secret", "-n", "trine-system", "trine-virt-api-serving"];
    const { data } = await at().kubectl.get<{ data: Record<string, string> }>(...words);
    const key = Buffer.from(data["tls.key"] ?? "", "base64").toString();
    return makeToken({ namespace: "default", name: "uploaded", ...claims }, key);
  }

  test(
    "virtctl image-upload dv: what is no upload leaves the claim clean, and the next one fills it",
    async () => {
      await using volumes = new VolumesUnderTest(at());
      const path = await volumes.directory("uploaded");
      await volumes.storageClass("uploaded", "Immediate");
      const { raw, qcow2 } = await disk();
      const upload = uploadTo("uploaded");
      await upload.prepare("dv");
      const token = await upload.token();
      const { metadata } = await at().kubectl.get<{ metadata: { uid: string } }>("pvc", "uploaded");
      const soon = Date.now() + 60_000;
      for (const wrong of [
        `${token}x`,
        await tokenOf({ uid: metadata.uid, expires: Date.now() - 1 }),
        await tokenOf({ uid: "another", expires: soon }),
      ]) {
        expect((await upload.send(wrong, qcow2)).code).toBe(401);
      }
      await expect(upload.send(token, qcow2, { cutAfter: 100_000 })).rejects.toThrow();
      await volumes.until(
        "uploaded",
        "waits anew",
        ({ status }) => status?.phase === "UploadReady",
      );
      // One at a time: the one that was cut off is heard of before the next is taken.
      const broken = Buffer.concat([qcow2.subarray(0, 4), Buffer.alloc(100_000, 0xff)]);
      expect(await upload.send(token, broken)).toMatchObject({ code: 400 });
      expect(await upload.send(token, Buffer.alloc(300 * MIB, "x"))).toMatchObject({
        code: 400,
        text: expect.stringMatching(/more than \d+ bytes/) as string,
      });
      expect(await readdir(path)).toEqual([]);
      expect(await upload.path(token)).toBe("/v1beta1/upload-async");
      expect(await upload.send(token, qcow2, { path: await upload.path(token) })).toMatchObject({
        code: 200,
      });
      await upload.finished();
      const { status } = await volumes.untilPhase("uploaded", "Succeeded");
      expect(status?.progress).toBe("100.0%");
      const made = await readFile(join(path, "disk.img"));
      expect(made.length).toBe(64 * MIB);
      expect(made.subarray(0, raw.length).equals(raw)).toBe(true);
      // It is filled: nobody waits for another.
      expect((await upload.send(token, qcow2)).code).toBe(503);
    },
    5 * LONG_MS,
  );

  test(
    "virtctl image-upload pvc, and the form of a web console",
    async () => {
      await using volumes = new VolumesUnderTest(at());
      const path = await volumes.directory("claimed");
      await volumes.storageClass("claimed", "Immediate");
      const { raw, qcow2 } = await disk();
      const upload = uploadTo("claimed");
      await upload.prepare("pvc");
      const form = new FormData();
      form.append("file", new Blob([new Uint8Array(qcow2)]), "disk.qcow2");
      const request = new Request("http://form", { method: "POST", body: form });
      const body = Buffer.from(await request.arrayBuffer());
      const type = request.headers.get("content-type") ?? "";
      const how = { path: "/v1beta1/upload-form-async", type };
      expect(await upload.send(await upload.token(), body, how)).toMatchObject({ code: 200 });
      await upload.finished();
      const made = await readFile(join(path, "disk.img"));
      expect(made.subarray(0, raw.length).equals(raw)).toBe(true);
      await at().kubectl.run(
        ...["wait", "--for=delete", "pod", "--selector=trine.dev/fills", "--timeout=60s"],
      );
    },
    5 * LONG_MS,
  );
}
