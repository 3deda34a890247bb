import { pollUntil } from "@trine/base";
import { createRequest } from "@trine/certificates";
import { CONFIG_MAPS, KubeClient, SIGNING_REQUESTS, readKubeconfig } from "@trine/kube-client";
import type { KubeControlPlane } from "@trine/testkit";

const LONG_MS = 120_000;

/** A node's certificate as trined gets it: the node asks, the leader signs. */
export async function nodeCertificate(
  plane: KubeControlPlane,
  client: KubeClient,
  of: { readonly name: string; readonly host: string },
): Promise<{ cert: string; key: string; ca: string }> {
  const { name, host } = of;
  const { authority, server } = plane;
  const subject = { user: `system:node:${name}`, group: "system:nodes" };
  const node = new KubeClient(
    await readKubeconfig(await authority.kubeconfig(name, server, subject)),
  );
  try {
    const { request, key } = await createRequest({
      name: `trine-node:${name}`,
      dnsNames: [name],
      addresses: [host],
    });
    await node.create(SIGNING_REQUESTS, {
      metadata: { name },
      spec: {
        request: Buffer.from(request).toString("base64"),
        signerName: "trine.dev/node",
        usages: ["digital signature", "server auth"],
      },
    });
    const signed = await pollUntil(`certificate of ${name}`, { ms: LONG_MS }, async () => {
      const { status } = await node.get(SIGNING_REQUESTS, { name });
      return status?.certificate;
    });
    const bundle = await client.get(CONFIG_MAPS, {
      namespace: "kube-public",
      name: "trine-authority",
    });
    return {
      cert: Buffer.from(signed, "base64").toString(),
      key,
      ca: bundle.data?.["ca.crt"] ?? "",
    };
  } finally {
    node.close();
  }
}
