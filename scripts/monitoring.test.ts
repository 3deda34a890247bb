import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { VirtGauges } from "../packages/node-api/src/virt-gauges.ts";
import { ControlMetrics } from "../packages/trine-control/src/metrics.ts";

const DEPLOY = join(import.meta.dirname, "../deploy/monitoring");
const DOCS = join(import.meta.dirname, "../docs/reference/metrics.md");
const NAME = /\b(?:kubevirt|trine)_[a-z0-9_]+\b/g;

/** What the programs say that they tell, by the text that Prometheus reads. */
async function told(): Promise<ReadonlySet<string>> {
  const node = new Registry();
  new VirtGauges("n1", node).update([]);
  const text = (await node.metrics()) + (await new ControlMetrics(() => true, "0").render());
  return new Set([...text.matchAll(/^# HELP (\S+)/gm)].map(([, name = ""]) => name));
}

function namesIn(text: string): readonly string[] {
  return [...new Set(text.match(NAME) ?? [])];
}

test("the dashboard asks for nothing that is not told", async () => {
  const dashboard = JSON.parse(await readFile(join(DEPLOY, "machines.json"), "utf8")) as {
    panels: { targets: { expr: string }[] }[];
    templating: { list: { query: unknown }[] };
  };
  const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  expect(queries.length).toBeGreaterThan(10);
  const variables = JSON.stringify(dashboard.templating.list);
  const all = await told();
  const asked = namesIn([...queries, variables].join(" "));
  expect(asked.filter((name) => !all.has(name))).toEqual([]);
  // Each query asks for something.
  for (const query of queries) expect(namesIn(query), query).not.toEqual([]);
});

test("alerts are on nothing that is not told", async () => {
  const { spec } = parse(await readFile(join(DEPLOY, "alerts.yaml"), "utf8")) as {
    spec: { groups: { rules: { alert: string; expr: string }[] }[] };
  };
  const rules = spec.groups.flatMap((group) => group.rules);
  expect(rules.length).toBeGreaterThan(3);
  const all = await told();
  for (const { alert, expr } of rules) {
    const asked = namesIn(expr);
    expect(asked, alert).not.toEqual([]);
    expect(
      asked.filter((name) => !all.has(name)),
      alert,
    ).toEqual([]);
  }
});

test("the reference lists each metric of KubeVirt's names, and no other", async () => {
  const listed = (await readFile(DOCS, "utf8")).match(/^\| `(kubevirt_[a-z0-9_]+)`/gm) ?? [];
  const names = listed.map((line) => line.slice(3, -1)).sort();
  const wanted = [...(await told())].filter((name) => name.startsWith("kubevirt_")).sort();
  expect(names).toEqual(wanted);
});
