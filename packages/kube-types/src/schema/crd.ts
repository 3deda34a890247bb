import { Document, isMap, isScalar, visit } from "yaml";
import { descriptions } from "../descriptions/describe.ts";
import { KINDS } from "../kinds.ts";
import { type Column, type Kind, type Version, crdName } from "./kind.ts";
import type { Json } from "./node.ts";
import { type OpenApi, openApiOf } from "./open-api.ts";
import { PART_OF } from "./part-of.ts";

/** The CustomResourceDefinition (apiextensions.k8s.io/v1) of a kind. */
export function crdOf(kind: Kind): OpenApi {
  // A copy has no parts in common: only the versions' schemas become one by an anchor.
  const { ofKind, ofFields } = descriptions(KINDS);
  const description = ofKind(kind.name);
  const whole = { description, ...openApiOf(kind.schema.node, ofFields) };
  const schema = JSON.parse(JSON.stringify(whole)) as OpenApi;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: crdName(kind), labels: { [PART_OF.label]: PART_OF.value } },
    spec: {
      group: kind.group,
      names: namesOf(kind),
      scope: kind.scope,
      versions: kind.versions.map((version, index) =>
        versionOf(kind, version, index === 0, schema),
      ),
    },
  };
}

/**
 * The same as YAML. What has values without parts of their own stands on one line, and the versions share
 * one schema by an anchor, which kubectl resolves.
 */
export function crdYaml(kind: Kind): string {
  const document = new Document(crdOf(kind));
  visit(document, {
    Map: (_, map) => {
      map.flow = map.items.every(
        ({ value }) => isScalar(value) || (isMap(value) && value.items.length === 0),
      );
    },
  });
  return document.toString({ lineWidth: 0 });
}

function namesOf({ name, plural, shortNames, inAll }: Kind): OpenApi {
  return {
    kind: name,
    listKind: `${name}List`,
    plural,
    singular: name.toLowerCase(),
    ...(shortNames.length > 0 && { shortNames }),
    ...(inAll && { categories: ["all"] }),
  };
}

function versionOf(kind: Kind, version: Version, storage: boolean, schema: OpenApi): OpenApi {
  const { group, name, columns } = kind;
  const subresources = subresourcesOf(kind);
  return {
    name: version.name,
    served: true,
    storage,
    ...(version.deprecated === true && {
      deprecated: true,
      deprecationWarning: `${group}/${version.name} ${name} is deprecated${replacementOf(kind)}`,
    }),
    ...(Object.keys(subresources).length > 0 && { subresources }),
    ...(columns.length > 0 && { additionalPrinterColumns: columns.map(columnOf) }),
    schema: { openAPIV3Schema: schema },
  };
}

function replacementOf({ group, versions }: Kind): string {
  const current = versions.find(({ deprecated = false }) => !deprecated);
  return current === undefined ? "" : `; use ${group}/${current.name}`;
}

function subresourcesOf({ status, scale }: Kind): OpenApi {
  return {
    ...(status && { status: {} }),
    ...(scale && {
      scale: {
        specReplicasPath: ".spec.replicas",
        statusReplicasPath: ".status.replicas",
        labelSelectorPath: ".status.labelSelector",
      },
    }),
  };
}

function columnOf({ name, type, path, wide }: Column): Json {
  return { name, type, jsonPath: path, ...(wide === true && { priority: 1 }) };
}
