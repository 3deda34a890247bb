import { GROUP, VERSIONS } from "../http/target.ts";
import { UPLOAD_GROUP, UPLOAD_VERSION } from "../upload/token-requests.ts";

/** The service that the API server reaches us by, and whom our certificate is signed by. */
export interface AggregatedAt {
  readonly service: { readonly namespace: string; readonly name: string; readonly port: number };
  /** PEM. */
  readonly authority: string;
}

/** APIServices of all versions, as the API server takes them; the first version is preferred. */
export function apiServices({ service, authority }: AggregatedAt): object[] {
  const caBundle = Buffer.from(authority).toString("base64");
  const all = [
    ...VERSIONS.map((version, index) => ({ group: GROUP, version, index })),
    { group: UPLOAD_GROUP, version: UPLOAD_VERSION, index: 0 },
  ];
  return all.map(({ group, version, index }) => ({
    apiVersion: "apiregistration.k8s.io/v1",
    kind: "APIService",
    metadata: { name: `${version}.${group}` },
    spec: {
      group,
      version,
      service,
      caBundle,
      groupPriorityMinimum: 1000,
      versionPriority: 20 - index,
    },
  }));
}
