import { hostname } from "node:os";
import * as v from "valibot";

const pathOrNone = v.pipe(
  v.string(),
  v.regex(/^(\/[^\0]*)?$/, "an absolute path is wanted, or nothing"),
  v.maxLength(255),
  v.title("absolute path, or empty"),
);

/** What trined asks of the API server: its certificate; and what it tells it. */
export const KubernetesSchema = v.strictObject({
  kubeconfig: v.optional(
    v.pipe(
      pathOrNone,
      v.description(
        "With this kubeconfig, kubelet's where it can be, trined gets the certificate of its door. Empty: trined speaks to no API server.",
      ),
    ),
    "",
  ),
  events: v.optional(
    v.pipe(
      pathOrNone,
      v.description(
        "A kubeconfig that may create and patch events (deploy/kubernetes/node-events.yaml): what happens to containers' views is told as events of their pods. Empty: by kubernetes.kubeconfig; where that is empty too, in the log alone.",
      ),
    ),
    "",
  ),
});

/** The door for the cluster's control plane (docs/reference/node-door.md). */
export const NodeDoorSchema = v.pipe(
  v.strictObject({
    listen: v.optional(
      v.pipe(
        v.string(),
        v.regex(/^(\[[0-9a-f:.]+\]|[0-9.]*):\d{1,5}$/i, "ADDRESS:PORT is wanted, or :PORT"),
        v.title("ADDRESS:PORT or :PORT"),
        v.description(
          "Where the control plane comes in. The door is opened where there is a certificate: by kubernetes.kubeconfig, or as given here.",
        ),
      ),
      ":10270",
    ),
    node: v.optional(
      v.pipe(
        v.string(),
        v.regex(/^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/, "a node's name is wanted"),
        v.title("name of the node, or empty"),
        v.description("The node's name in the cluster. Empty: the host's name."),
      ),
      "",
    ),
    certificate: v.optional(
      v.pipe(pathOrNone, v.description("PEM, where it is not got from the cluster.")),
      "",
    ),
    key: v.optional(v.pipe(pathOrNone, v.description("Its key.")), ""),
    authority: v.optional(
      v.pipe(
        pathOrNone,
        v.description(
          "PEM of the authority that signs the callers' certificates. Empty: ConfigMap trine-authority in kube-public.",
        ),
      ),
      "",
    ),
    clients: v.optional(
      v.pipe(
        v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(64))),
        v.maxLength(16),
        v.title("list of names"),
        v.description("Names of the authority's certificates that may come in."),
      ),
      ["trine-control", "trine-virt-api"],
    ),
  }),
  v.check(
    ({ certificate, key }) => (certificate === "") === (key === ""),
    "certificate and key go together",
  ),
  v.check(
    ({ certificate, authority }) => certificate === "" || authority !== "",
    "a certificate that is given needs the authority of the callers",
  ),
);

/** As kubelet names its node where nobody says. */
export function nodeNameOf({ node }: { readonly node: string }): string {
  return node === "" ? hostname().trim().toLowerCase() : node;
}

/** Host and port of `listen`; an empty host = all addresses. */
export function placeOf(listen: string): { readonly host: string; readonly port: number } {
  const colon = listen.lastIndexOf(":");
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, "");
  return { host, port: Number(listen.slice(colon + 1)) };
}
