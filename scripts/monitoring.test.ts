import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { VirtGauges } from "../packages/node-api/src/virt-gauges.ts";
import { type Config, readArguments } from "../packages/trine-control/src/config.ts";
import { ControlMetrics } from "../packages/trine-control/src/metrics.ts";
import { nodeSamples } from "../packages/trine-control/src/node-samples.ts";
import { ownCertificates } from "../packages/trine-control/src/own-certificates.ts";

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

test("what a trined tells of its machines is taken from it", async () => {
  const registry = new Registry();
  const guest = { memory: { totalBytes: 1024, guest: {} }, disks: [], vcpus: [] };
  const figures = { guest, host: { vmmBytes: 2, shimBytes: 1 } };
  const pod = { podNamespace: "shop", name: "virt-launcher-web-x7k2p" };
  new VirtGauges("n1", registry).update([{ pod, figures: figures as never }]);
  const text = await registry.metrics();
  expect(text).toContain('{node="n1",namespace="shop",name="web"}');
  const lines = (of: string): readonly string[] => of.split("\n").filter((line) => line !== "");
  const pods = [{ namespace: pod.podNamespace, name: pod.name }];
  expect(lines(nodeSamples(text, "n1", pods))).toEqual(lines(text));
});

/** One of deploy/, by its kind and name. */
async function object<T>(file: string, kind: string, name: string): Promise<T> {
  const text = await readFile(join(DEPLOY, "..", file), "utf8");
  const all = parseAllDocuments(text).map(
    (document) => document.toJS() as { kind: string; metadata: { name: string } },
  );
  const found = all.find((each) => each.kind === kind && each.metadata.name === name);
  expect(found, `${kind} ${name} of ${file}`).toBeDefined();
  return found as T;
}

interface Scrape {
  readonly authorization: { readonly credentials: { readonly name: string } };
  readonly tlsConfig: {
    readonly serverName: string;
    readonly ca: { readonly secret: { readonly name: string } };
  };
}

test("what is scraped is there, behind a name of its certificate and a right of its account", async () => {
  const { spec } = await object<{
    spec: {
      selector: { matchLabels: object };
      endpoints: (Scrape & { port: string; path: string })[];
    };
  }>("monitoring/service-monitor.yaml", "ServiceMonitor", "trine-control");
  const nodes = await object<{ spec: Scrape & { relabelings: { replacement?: string }[] } }>(
    "monitoring/nodes.yaml",
    "ScrapeConfig",
    "trine-nodes",
  );
  const service = await object<{
    metadata: { labels: object };
    spec: { ports: { name: string; port: number; targetPort: string }[] };
  }>("control-plane/service.yaml", "Service", "trine-control-metrics");
  const { spec: deployed } = await object<{
    spec: {
      template: { spec: { containers: { ports: { name: string; containerPort: number }[] }[] } };
    };
  }>("control-plane/deployment.yaml", "Deployment", "trine-control");
  const [endpoint] = spec.endpoints;
  const [port] = service.spec.ports;
  expect(service.metadata.labels).toEqual(spec.selector.matchLabels);
  expect([endpoint?.port, endpoint?.path, port?.targetPort]).toEqual([
    port?.name,
    "/metrics",
    "metrics",
  ]);
  const listens = readArguments([]);
  expect(deployed.template.spec.containers[0]?.ports).toContainEqual({
    name: "metrics",
    containerPort: Number((listens as Config).metricsListen.slice(1)),
  });
  const of = { service: "trine-virt-api", namespace: "trine-system" };
  const serving = ownCertificates(of).find(({ usage }) => usage === "serverAuth");
  for (const { authorization, tlsConfig } of [endpoint, nodes.spec].filter(
    (each) => each !== undefined,
  )) {
    expect(tlsConfig.ca.secret.name).toBe(serving?.name);
    expect(serving?.subject.dnsNames).toContain(tlsConfig.serverName);
    expect(authorization.credentials.name).toBe("trine-scrape");
  }
  const [address, path] = nodes.spec.relabelings;
  expect(address?.replacement).toBe(`trine-control-metrics.trine-system.svc:${port?.port ?? ""}`);
  expect(path?.replacement).toBe("/metrics/nodes/$1");
  const role = await object<{ rules: object[] }>(
    "monitoring/account.yaml",
    "ClusterRole",
    "trine-metrics",
  );
  expect(role.rules).toEqual([{ nonResourceURLs: ["/metrics"], verbs: ["get"] }]);
});

test("the reference lists each metric of KubeVirt's names, and no other", async () => {
  const listed = (await readFile(DOCS, "utf8")).match(/^\| `(kubevirt_[a-z0-9_]+)`/gm) ?? [];
  const names = listed.map((line) => line.slice(3, -1)).sort();
  const wanted = [...(await told())].filter((name) => name.startsWith("kubevirt_")).sort();
  expect(names).toEqual(wanted);
});
