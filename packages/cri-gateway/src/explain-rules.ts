import { quote } from "@trine/base";
import { defaultOf } from "./routing.ts";
import type { RoutingConfig, Rule, Untrusted } from "./routing.ts";

/** What the rules of a gateway come to, for a person. */
export interface Explanation {
  /** In the order in which a pod is looked at. */
  readonly lines: readonly string[];
  /** What is allowed and hardly meant. */
  readonly warnings: readonly string[];
}

export interface Explained extends RoutingConfig {
  readonly urlImages: {
    readonly prefix: string;
    readonly mappings: string;
    readonly kubeconfig: string;
    readonly hosts: readonly string[];
    readonly backEnd: string;
  };
}

type Selector = "handler" | "targetRuntime" | "imagePrefix";

/** Says where pods and images go by these rules, and which rules never apply. */
export function explainRules(config: Explained): Explanation {
  const first = defaultOf(config);
  const rules = (by: Selector): string[] =>
    config.rules.flatMap((rule) => (rule[by] === undefined ? [] : [ruleText(rule, rule[by])]));
  const backEnds = config.backEnds.map(({ name, socket }) => `${name} at ${socket}`);
  const lines = [
    `back ends: ${backEnds.join(", ")}; ${first} is the default`,
    "a pod goes by the first of",
    `  1. its handler: ${[...rules("handler"), `else the first back end that reports it, else ${first}`].join("; ")}`,
    `  2. kubernetes.io/target-runtime: ${[...rules("targetRuntime"), "another value is refused"].join("; ")}`,
    `  3. trust: ${trustText(config.untrusted, first)}`,
    `  4. the default, ${first}`,
    `an image: ${[...rules("imagePrefix"), "else where its pod goes"].join("; ")}`,
    ...urlText(config, first),
  ];
  return { lines, warnings: [...shadowed(config.rules), ...splitImages(config, first)] };
}

function ruleText({ backEnd, useHandler }: Rule, value: string): string {
  return `${quote(value)} to ${backEnd}${useHandler === undefined ? "" : ` as handler ${quote(useHandler)}`}`;
}

function trustText({ handler, backEnd, hostAccess }: Untrusted, first: string): string {
  if (handler === "") return "not looked at (untrusted.handler is empty)";
  const where = backEnd === "" ? first : backEnd;
  const host = hostAccess === "refuse" ? "is refused" : "is allowed";
  return `untrusted to ${where} as handler ${quote(handler)}, where access to the host ${host}; trusted to ${first}`;
}

function urlText({ urlImages }: Explained, first: string): string[] {
  const { prefix, mappings, kubeconfig, hosts, backEnd } = urlImages;
  if (mappings === "" && kubeconfig === "" && hosts.length === 0) return [];
  const from = [
    ...(mappings === "" ? [] : [`mappings in ${mappings}`]),
    ...(kubeconfig === "" ? [] : [`mappings of the API by ${kubeconfig}`]),
    ...(hosts.length === 0 ? [] : [`servers ${hosts.join(", ")}`]),
  ];
  return [
    `disks by URL: ${quote(prefix)} into ${backEnd === "" ? first : backEnd}, by ${from.join(" and ")}`,
  ];
}

/** Rules behind one that takes all they would. */
function shadowed(rules: readonly Rule[]): string[] {
  return rules.flatMap((rule, index) => {
    const before = rules.slice(0, index).findIndex((earlier) => takes(earlier, rule));
    return before === -1 ? [] : [`rules[${index}] never applies: rules[${before}] is before it`];
  });
}

function takes(earlier: Rule, rule: Rule): boolean {
  if (rule.imagePrefix !== undefined) {
    return earlier.imagePrefix !== undefined && rule.imagePrefix.startsWith(earlier.imagePrefix);
  }
  const by = rule.handler === undefined ? "targetRuntime" : "handler";
  return earlier[by] === rule[by];
}

/** Disks come into one store, and the rules look for them in another. */
function splitImages(config: Explained, first: string): string[] {
  const { prefix, backEnd } = config.urlImages;
  if (urlText(config, first).length === 0) return [];
  const store = backEnd === "" ? first : backEnd;
  return config.rules.flatMap(({ imagePrefix, backEnd: to }, index) =>
    imagePrefix !== undefined && to !== store && overlap(imagePrefix, prefix)
      ? [`rules[${index}] looks for images in ${to}, and disks by URL come into ${store}`]
      : [],
  );
}

function overlap(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}
