import type { KubeClient } from "@trine/kube-client";

/** What installing and uninstalling ask of the API server. */
export type ClusterApi = Pick<KubeClient, "get" | "list" | "delete" | "patch" | "apply">;

/** Tells a person what is done, a line each. */
export type Tell = (line: string) => void;

/** Where the control plane is. */
export const NAMESPACE = "trine-system";
export const CONTROL = "trine-control";
