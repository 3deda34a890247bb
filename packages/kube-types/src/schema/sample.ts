import type { IntegerNode, Json, ListNode, Node, StringNode } from "./node.ts";

/**
 * A value with every field of the schema filled, nested ones too, each with a value of its own: what
 * comes back unchanged has lost nothing. It is of the right shape, not sensible.
 */
export function fullSample(node: Node): Json {
  return new Sampler().value(node);
}

class Sampler {
  #count = 0;

  value(node: Node): Json {
    if (node.example !== undefined) return node.example;
    switch (node.kind) {
      case "string":
        return this.#string(node);
      case "integer":
        return this.#integer(node);
      case "number":
        return this.#next() + 0.5;
      case "boolean":
        return true;
      case "quantity":
        return `${this.#next()}Mi`;
      case "intOrString":
        return this.#next() % 2 === 0 ? this.#next() : `${this.#next()}%`;
      case "opaque":
        return { any: { depth: [this.#next(), "two", { three: true }] } };
      case "metadata":
        return { name: `sample-${this.#next()}`, labels: { of: "sample" } };
      case "list":
        return this.#list(node);
      case "map":
        return { [`key-${this.#next()}`]: this.value(node.value) };
      case "object":
        return Object.fromEntries(
          Object.entries(node.fields).map(([name, field]) => [name, this.value(field)]),
        );
    }
  }

  #next(): number {
    this.#count += 1;
    return this.#count;
  }

  #string({ values, known, format, minLength = 0 }: StringNode): string {
    const [first] = [...(values ?? []), ...(known ?? [])];
    if (first !== undefined) return first;
    if (format === "date-time") return "2026-01-02T03:04:05Z";
    if (format === "byte") return "dHJpbmU=";
    return `text-${this.#next()}`.padEnd(minLength, "-");
  }

  #integer({ minimum = 0, maximum = 1000 }: IntegerNode): number {
    return minimum + (this.#next() % (maximum - minimum + 1));
  }

  /** Two of what is not an object, as far as they differ: order is kept too. */
  #list({ item, maxItems = 2, minItems = 1 }: ListNode): Json {
    const differ = item.kind === "string" && item.values === undefined && item.known === undefined;
    const length = Math.max(minItems, differ ? Math.min(2, maxItems) : 1);
    return Array.from({ length }, () => this.value(item));
  }
}
