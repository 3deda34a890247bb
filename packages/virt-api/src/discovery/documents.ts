import { UPLOAD_GROUP, UPLOAD_VERSION } from "../upload/token-requests.ts";
import { type Version, GROUP, VERSIONS } from "../http/target.ts";
import { STREAMS } from "../streams/open-stream.ts";
import { ROWS } from "../subresources/table.ts";

/** A subresource as discovery and OpenAPI tell it. */
export interface Listed {
  /** `virtualmachines/start`. */
  readonly name: string;
  readonly verb: "get" | "update";
}

/** All that is served below a namespace. */
export const LISTED: readonly Listed[] = [
  { name: "expand-vm-spec", verb: "update" } as const,
  ...ROWS.map(({ of, name, method }): Listed => ({
    name: `${of}/${name}`,
    verb: method === "GET" ? "get" : "update",
  })),
  ...[...STREAMS.keys()].map((name): Listed => ({ name, verb: "get" })),
].toSorted((a, b) => (a.name < b.name ? -1 : 1));

const PREFERRED = versionEntry(VERSIONS[0]);

function versionEntry(version: Version): { groupVersion: string; version: string } {
  return { groupVersion: `${GROUP}/${version}`, version };
}

const SERVER_ADDRESSES = [{ clientCIDR: "0.0.0.0/0", serverAddress: "" }];

const API_GROUP = {
  name: GROUP,
  versions: VERSIONS.map(versionEntry),
  preferredVersion: PREFERRED,
  serverAddressByClientCIDRs: SERVER_ADDRESSES,
};

function resourceList(version: Version): object {
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: `${GROUP}/${version}`,
    resources: LISTED.map(({ name, verb }) => ({
      name,
      singularName: "",
      namespaced: true,
      kind: "",
      verbs: [verb],
    })),
  };
}

const UPLOADS = { groupVersion: `${UPLOAD_GROUP}/${UPLOAD_VERSION}`, version: UPLOAD_VERSION };

const UPLOAD_API_GROUP = {
  name: UPLOAD_GROUP,
  versions: [UPLOADS],
  preferredVersion: UPLOADS,
  serverAddressByClientCIDRs: SERVER_ADDRESSES,
};

const UPLOAD_RESOURCES = {
  kind: "APIResourceList",
  apiVersion: "v1",
  groupVersion: UPLOADS.groupVersion,
  resources: [
    {
      name: "uploadtokenrequests",
      singularName: "uploadtokenrequest",
      namespaced: true,
      kind: "UploadTokenRequest",
      verbs: ["create"],
    },
  ],
};

/** What anybody may read, by path: it says what is served and nothing of the cluster. */
export const DOCUMENTS: ReadonlyMap<string, object> = new Map<string, object>([
  ["/apis", { kind: "APIGroupList", apiVersion: "v1", groups: [API_GROUP, UPLOAD_API_GROUP] }],
  [`/apis/${GROUP}`, { kind: "APIGroup", apiVersion: "v1", ...API_GROUP }],
  [`/apis/${UPLOAD_GROUP}`, { kind: "APIGroup", apiVersion: "v1", ...UPLOAD_API_GROUP }],
  [`/apis/${UPLOAD_GROUP}/${UPLOAD_VERSION}`, UPLOAD_RESOURCES],
  ...VERSIONS.map((version) => [`/apis/${GROUP}/${version}`, resourceList(version)] as const),
]);
