// VirtletImageMapping resources of a real API server, read with the rights that deploy/virtlet gives.
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeControlPlane, kubeBinaries } from "@trine/testkit";
import { expect, test } from "vitest";
import { apiMappings } from "./api-mappings.ts";
import { translate } from "./image-mapping.ts";

const DEPLOYED = join(import.meta.dirname, "../../../../deploy/virtlet/image-mappings.yaml");
const ACCOUNT = "system:serviceaccount:kube-system:trine-image-mappings";
const MS = 600_000;

const mapping = (name: string, url: string): object => ({
  apiVersion: "virtlet.k8s/v1",
  kind: "VirtletImageMapping",
  metadata: { name, namespace: "kube-system" },
  spec: { translations: [{ name: "cirros", url }] },
});

test(
  "mappings are read from the API by their own rights, and as they last were while it is away",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "ta-"));
    const binaries = await kubeBinaries();
    const plane = await KubeControlPlane.start({
      ...{ dir: join(dir, "k"), binaries, address: "127.0.0.1", apiOnly: true },
    });
    let isOver = false;
    try {
      const { kubectl, authority, server } = plane;
      const kubeconfig = await authority.kubeconfig("mappings", server, { user: ACCOUNT });
      const source = { kubeconfig, kept: join(dir, "kept.json") };
      const url = async (): Promise<string | undefined> =>
        translate(await apiMappings(source), "cirros")?.url;

      await expect(url()).rejects.toMatchObject({ kind: "forbidden" }); // no right yet
      await kubectl.run("apply", "-f", DEPLOYED);
      await kubectl.run(
        "wait",
        "--for=condition=Established",
        "crd/virtletimagemappings.virtlet.k8s",
      );
      await expect.poll(url, { timeout: 60_000 }).toBeUndefined();
      await kubectl.apply(mapping("b", "http://b/x"), mapping("a", "http://a/x"));
      expect(await url()).toBe("http://a/x"); // in the order of their names
      expect((await stat(source.kept)).mode & 0o777).toBe(0o600);

      const last = await apiMappings(source);
      isOver = true;
      await plane.stop();
      expect(await apiMappings(source)).toEqual(last);
      const never = apiMappings({ ...source, kept: join(dir, "none.json") });
      await expect(never).rejects.toMatchObject({ kind: "unavailable" });
    } finally {
      if (!isOver) await plane.stop();
      await rm(dir, { recursive: true });
    }
  },
  MS,
);
