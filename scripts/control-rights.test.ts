import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";

const ROOT = join(import.meta.dirname, "..");
const RIGHTS = join(ROOT, "deploy/control-plane");

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
}

async function roles(file: string): Promise<readonly Role[]> {
  const text = await readFile(join(RIGHTS, file), "utf8");
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Role)
    .filter(({ kind }) => kind.endsWith("Role"));
}

async function clusterRules(): Promise<readonly Rule[]> {
  const found = (await roles("rights.yaml")).find(
    ({ metadata }) => metadata.name === "trine-control",
  );
  return found?.rules ?? [];
}

/** `VERB GROUP/RESOURCE`. */
function rightsOf(rules: readonly Rule[]): readonly string[] {
  return rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)),
    ),
  );
}

test("nothing in the whole cluster lets the program become more than it is", async () => {
  const rules = await clusterRules();
  const rights = rightsOf(rules);
  expect(rights.length).toBeGreaterThan(50);
  expect(rights.filter((right) => right.includes("*"))).toEqual([]);
  const never = [
    // Others' secrets, and ways into others' pods.
    / \/secrets$/,
    / \/(pods|nodes)\/(exec|attach|portforward|proxy|ephemeralcontainers)$/,
    / \/serviceaccounts/,
    /^(escalate|bind|impersonate) /,
    /^(?!get |list |watch )\w+ rbac\.authorization\.k8s\.io\//,
    /^(?!get |list |watch )\w+ \/(nodes|namespaces)/,
    /^deletecollection /,
  ];
  expect(rights.filter((right) => never.some((pattern) => pattern.test(right)))).toEqual([]);
});

test("what is written under a name of its own is written under no other", async () => {
  const rules = await clusterRules();
  const registered = rules.filter(({ apiGroups: [group = ""] }) =>
    ["apiregistration.k8s.io", "admissionregistration.k8s.io"].includes(group),
  );
  expect(registered.length).toBeGreaterThan(2);
  for (const { verbs, resourceNames } of registered) {
    // Names cannot be asked of a create.
    if (resourceNames === undefined) expect(verbs).toEqual(["create"]);
  }
  const signers = rules.find(({ resources }) => resources.includes("signers"));
  expect(signers?.resourceNames).toEqual(["trine.dev/node"]);
});

test("secrets are read in its own namespace alone", async () => {
  const own = await roles("own-rights.yaml");
  const elsewhere = await roles("rights-elsewhere.yaml");
  const reads = [...own, ...elsewhere].filter(({ rules = [] }) =>
    rightsOf(rules).some((right) => right.endsWith("/secrets")),
  );
  expect(reads.map(({ metadata }) => metadata.namespace)).toEqual(["trine-system"]);
});

test("each resource it has a right to is named in the code that runs", async () => {
  const source = await sources(
    ["controllers", "trine-control", "virt-api", "kube-client", "kube-types"].map((name) =>
      join(ROOT, "packages", name, "src"),
    ),
  );
  const plurals = (await clusterRules()).flatMap(({ resources }) =>
    resources.map((resource) => resource.split("/")[0] ?? ""),
  );
  // Of our kinds the name stands there, of which the plural is made.
  const words = source.toLowerCase();
  const isNamed = (plural: string): boolean =>
    words.includes(plural) || words.includes(`"${plural.replace(/s$/, "")}"`);
  expect([...new Set(plurals)].filter((plural) => !isNamed(plural))).toEqual([]);
});

async function sources(dirs: readonly string[]): Promise<string> {
  const texts = dirs.map(async (dir) => {
    const entries = await readdir(dir, { recursive: true });
    const files = entries.filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
    return Promise.all(files.map((name) => readFile(join(dir, name), "utf8")));
  });
  return (await Promise.all(texts)).flat().join("\n");
}
