import { expect, test } from "vitest";
import { explainRules } from "./explain-rules.ts";
import type { Explained } from "./explain-rules.ts";
import type { Rule } from "./routing.ts";

const config = (rules: readonly Rule[], more: Partial<Explained> = {}): Explained => ({
  backEnds: [
    { name: "a", socket: "/run/a.sock" },
    { name: "b", socket: "/run/b.sock" },
  ],
  rules,
  untrusted: { handler: "", backEnd: "", hostAccess: "refuse" },
  urlImages: { prefix: "virtlet.cloud/", mappings: "", kubeconfig: "", hosts: [], backEnd: "" },
  ...more,
});

test("says where pods and images go, in the order in which they are looked at", () => {
  const rules = [
    { handler: "kata", backEnd: "b" },
    { targetRuntime: "virtlet.cloud", backEnd: "a", useHandler: "trine-vm" },
    { imagePrefix: "x/", backEnd: "b" },
  ];
  const { lines, warnings } = explainRules(
    config(rules, {
      untrusted: { handler: "trine-microvm", backEnd: "", hostAccess: "refuse" },
      urlImages: {
        prefix: "virtlet.cloud/",
        mappings: "/etc/m",
        kubeconfig: "/k",
        hosts: ["h"],
        backEnd: "b",
      },
    }),
  );
  expect(warnings).toEqual([]);
  expect(lines).toEqual([
    "back ends: a at /run/a.sock, b at /run/b.sock; a is the default",
    "a pod goes by the first of",
    '  1. its handler: "kata" to b; else the first back end that reports it, else a',
    '  2. kubernetes.io/target-runtime: "virtlet.cloud" to a as handler "trine-vm"; another value is refused',
    '  3. trust: untrusted to a as handler "trine-microvm", where access to the host is refused; trusted to a',
    "  4. the default, a",
    'an image: "x/" to b; else where its pod goes',
    'disks by URL: "virtlet.cloud/" into b, by mappings in /etc/m and mappings of the API by /k and servers h',
  ]);
});

test("without rules all is the default's, and trust is not looked at", () => {
  const { lines } = explainRules(config([]));
  expect(lines).toContain("  3. trust: not looked at (untrusted.handler is empty)");
  expect(lines).toHaveLength(7);
});

test.each<[string, Rule, Rule]>([
  ["handler", { handler: "x", backEnd: "a" }, { handler: "x", backEnd: "b" }],
  ["target", { targetRuntime: "x", backEnd: "a" }, { targetRuntime: "x", backEnd: "b" }],
  ["longer prefix", { imagePrefix: "x/", backEnd: "a" }, { imagePrefix: "x/y/", backEnd: "b" }],
])("a second rule of one %s is said to have no effect", (_, first, second) => {
  const { warnings } = explainRules(config([{ handler: "other", backEnd: "a" }, first, second]));
  expect(warnings).toEqual(["rules[2] never applies: rules[1] is before it"]);
  expect(explainRules(config([second])).warnings).toEqual([]);
});

test("a longer prefix before a shorter one is as it should be", () => {
  const rules = ["x/y/", "x/"].map((imagePrefix) => ({ imagePrefix, backEnd: "a" }));
  expect(explainRules(config(rules)).warnings).toEqual([]);
});

test("disks that come into one store and are looked for in another are told", () => {
  const urlImages = {
    prefix: "virtlet.cloud/",
    mappings: "/m",
    kubeconfig: "",
    hosts: [],
    backEnd: "",
  };
  const rule = (backEnd: string): Rule[] => [{ imagePrefix: "virtlet.cloud/", backEnd }];
  expect(explainRules(config(rule("b"), { urlImages })).warnings).toEqual([
    "rules[0] looks for images in b, and disks by URL come into a",
  ]);
  expect(explainRules(config(rule("a"), { urlImages })).warnings).toEqual([]);
  expect(explainRules(config(rule("b"))).warnings).toEqual([]);
});
