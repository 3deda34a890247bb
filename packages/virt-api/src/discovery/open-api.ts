import { createHash } from "node:crypto";
import { type Version, GROUP, VERSIONS } from "../http/target.ts";
import { LISTED, type Listed } from "./documents.ts";

type Json = Readonly<Record<string, unknown>>;

const INFO = { title: "Trine: subresources of KubeVirt", version: "v1" };
const RESPONSES = {
  "200": { description: "OK" },
  "202": { description: "Accepted" },
  "400": { description: "Bad Request" },
  "401": { description: "Unauthorized" },
  "403": { description: "Forbidden" },
  "404": { description: "Not Found" },
  "409": { description: "Conflict" },
  "500": { description: "Internal Server Error" },
};

/** `/apis/…/virtualmachines/{name}/start`; a port-forward has its port there, too. */
function pathOf(version: Version, { name }: Listed): string {
  const [resource = "", ...rest] = name.split("/");
  const below = rest.length === 0 ? "" : `/{name}/${rest.join("/")}`;
  const port = name.endsWith("/portforward") ? "/{port}" : "";
  return `/apis/${GROUP}/${version}/namespaces/{namespace}/${resource}${below}${port}`;
}

function operationOf(version: Version, { name, verb }: Listed): string {
  const words = name.split(/[^a-z]+/).map((word) => word.slice(0, 1).toUpperCase() + word.slice(1));
  return `${version}${verb === "get" ? "get" : "put"}${words.join("")}`;
}

/** Paths of one version; `parameter` says what a part of a path is, in the words of the format. */
function pathsOf(version: Version, parameter: (name: string) => Json): Json {
  const paths = LISTED.map((listed) => {
    const path = pathOf(version, listed);
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
    const operation = {
      operationId: operationOf(version, listed),
      tags: [`subresources_${version}`],
      responses: RESPONSES,
    };
    const method = listed.verb === "get" ? "get" : "put";
    return [path, { [method]: operation, parameters: names.map(parameter) }] as const;
  });
  return Object.fromEntries(paths);
}

/** `/openapi/v2`: of the preferred version. */
export function openApiV2(): Json {
  return {
    swagger: "2.0",
    info: INFO,
    paths: pathsOf(VERSIONS[0], (name) => ({ name, in: "path", required: true, type: "string" })),
    definitions: {},
  };
}

/** `/openapi/v3/apis/GROUP/VERSION`. */
export function openApiV3(version: Version): Json {
  const schema = { type: "string" };
  return {
    openapi: "3.0.0",
    info: INFO,
    paths: pathsOf(version, (name) => ({ name, in: "path", required: true, schema })),
    components: { schemas: {} },
  };
}

/** `/openapi/v3`: where each version's document is. The hash changes with what is in it. */
export function openApiV3Index(): Json {
  const entries = VERSIONS.map((version) => {
    const path = `apis/${GROUP}/${version}`;
    const hash = createHash("sha256")
      .update(JSON.stringify(openApiV3(version)))
      .digest("hex");
    return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash.slice(0, 32)}` }] as const;
  });
  return { paths: Object.fromEntries(entries) };
}
