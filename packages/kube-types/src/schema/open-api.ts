import type {
  IntegerNode,
  Json,
  ListNode,
  Node,
  ObjectNode,
  PlainNode,
  StringNode,
} from "./node.ts";

/** A structural schema of a CustomResourceDefinition (apiextensions.k8s.io/v1, JSONSchemaProps). */
export type OpenApi = { readonly [key: string]: Json };

/** As the API server reads quantities (k8s.io/apimachinery/pkg/api/resource). */
const QUANTITY =
  "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";
const INT_OR_STRING = {
  anyOf: [{ type: "integer" }, { type: "string" }],
  "x-kubernetes-int-or-string": true,
};

/** Sentences for the fields of an object; undefined: there are none. */
export type Describe = (node: Node) => Readonly<Record<string, string>> | undefined;

/** The schema as a CRD holds it. */
export function openApiOf(node: Node, describe: Describe = () => undefined): OpenApi {
  return {
    ...shapeOf(node, describe),
    ...(node.nullable === true && { nullable: true }),
    ...(node.default !== undefined && { default: node.default }),
    ...(node.rules !== undefined && {
      "x-kubernetes-validations": node.rules.map(({ rule, message }) => ({ rule, message })),
    }),
  };
}

function shapeOf(node: Node, describe: Describe): OpenApi {
  switch (node.kind) {
    case "string":
      return stringShape(node);
    case "integer":
      return integerShape(node);
    case "list":
      return listShape(node, describe);
    case "map":
      return { type: "object", additionalProperties: openApiOf(node.value, describe) };
    case "object":
      return objectShape(node, describe);
    default:
      return PLAIN[node.kind];
  }
}

const PLAIN: Readonly<Record<PlainNode["kind"], OpenApi>> = {
  number: { type: "number" },
  boolean: { type: "boolean" },
  quantity: { ...INT_OR_STRING, pattern: QUANTITY },
  intOrString: INT_OR_STRING,
  opaque: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  metadata: { type: "object" },
};

function stringShape({ format, values, pattern, minLength, maxLength }: StringNode): OpenApi {
  return {
    type: "string",
    ...(format !== undefined && { format }),
    ...(values !== undefined && { enum: values }),
    ...(pattern !== undefined && { pattern }),
    ...(minLength !== undefined && { minLength }),
    ...(maxLength !== undefined && { maxLength }),
  };
}

function integerShape({ format, minimum, maximum }: IntegerNode): OpenApi {
  return {
    type: "integer",
    ...(format !== undefined && { format }),
    ...(minimum !== undefined && { minimum }),
    ...(maximum !== undefined && { maximum }),
  };
}

function listShape(
  { item, merge, keys, minItems, maxItems }: ListNode,
  describe: Describe,
): OpenApi {
  return {
    type: "array",
    items: openApiOf(item, describe),
    ...(minItems !== undefined && { minItems }),
    ...(maxItems !== undefined && { maxItems }),
    ...(merge !== undefined && { "x-kubernetes-list-type": merge }),
    ...(keys !== undefined && { "x-kubernetes-list-map-keys": keys }),
  };
}

function objectShape(object: ObjectNode, describe: Describe): OpenApi {
  const { fields, needed, open } = object;
  const texts = describe(object) ?? {};
  const properties = Object.entries(fields).map(([name, node]) => {
    const description = Object.hasOwn(texts, name) ? texts[name] : undefined;
    const shape = openApiOf(node, describe);
    return [name, description === undefined ? shape : { description, ...shape }] as const;
  });
  return {
    type: "object",
    ...(properties.length > 0 && { properties: Object.fromEntries(properties) }),
    ...(needed.size > 0 && { required: [...needed] }),
    ...(open === true && { "x-kubernetes-preserve-unknown-fields": true }),
  };
}
