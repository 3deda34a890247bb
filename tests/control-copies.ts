// Who may have a machine's volume copied out of another namespace: its account, by roles on the real API server, refused and then allowed.
import { kindOf, pollUntil } from "@trine/base";
import {
  type ControlDeps,
  type MakeCache,
  controlCaches,
  dataSourceController,
  machineController,
  sourceCaches,
} from "@trine/controllers";
import { DATA_SOURCES, ListWatchCache, type Stored, resourceOf } from "@trine/kube-client";
import {
  CLUSTER_DEFAULTS,
  DATA_VOLUME,
  type DataSource,
  type DataVolume,
  VIRTUAL_MACHINE,
} from "@trine/kube-types";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ControlUnderTest } from "./control-under-test.ts";

const NAMESPACE = "copies";
const ACCOUNT = "copier";
const MACHINES = resourceOf(VIRTUAL_MACHINE);
const VOLUMES = resourceOf(DATA_VOLUME);
const LONG_MS = 60_000;
const RBAC = "rbac.authorization.k8s.io";
const CDI = "cdi.kubevirt.io";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
}

const EXPLICIT: Rule = { apiGroups: [CDI], resources: ["datavolumes/source"] };
const IMPLICIT: Rule = { apiGroups: [""], resources: ["pods"] };
const OF_SNAPSHOTS: Rule = { apiGroups: [""], resources: ["pods", "pvcs"] };
const ONE: Rule = { ...EXPLICIT, resourceNames: ["golden"] };

const OURS = { kind: "ServiceAccount", name: ACCOUNT, namespace: NAMESPACE };
const group = (name: string): object => ({ kind: "Group", name, apiGroup: RBAC });
const ALL = group("system:serviceaccounts");
const ALL_HERE = group(`system:serviceaccounts:${NAMESPACE}`);

type Source = DataVolume["spec"];

export function copyTests(control: () => ControlUnderTest): void {
  const end = new AbortController();
  const running: Promise<unknown>[] = [];
  const problems: unknown[] = [];
  const told: string[] = [];

  beforeAll(async () => {
    const { client, plane } = control();
    await plane.kubectl.run("create", "namespace", NAMESPACE);
    const make: MakeCache = (resource, indices = {}) => {
      const onProblem = (cause: unknown): number => problems.push(cause);
      const cache = new ListWatchCache(client, resource, { indices, onProblem });
      running.push(cache.run(end.signal));
      return cache;
    };
    const caches = controlCaches(make);
    const deps: ControlDeps = {
      api: client,
      caches,
      events: { record: (of, { reason }) => told.push(`${of.metadata.name} ${reason}`) },
      defaults: () => CLUSTER_DEFAULTS,
      now: () => new Date(),
      random: Math.random,
      onFailure: (_, key, cause) => {
        if (!["conflict", "forbidden"].includes(kindOf(cause))) problems.push([key, cause]);
      },
    };
    const sources = dataSourceController({ ...deps, caches: { ...caches, ...sourceCaches(make) } });
    running.push(...[machineController(deps), sources].map((each) => each.run(end.signal)));
  });

  afterAll(async () => {
    end.abort();
    await Promise.allSettled(running);
    expect(problems).toEqual([]);
  });

  const apply = (...objects: readonly object[]): Promise<void> =>
    control().plane.kubectl.apply(...objects);

  const from = (name: string): string => `from-${name}`;

  /** Halted: its volumes are made all the same. */
  const machine = (name: string, spec: Source): object => ({
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      runStrategy: "Halted",
      dataVolumeTemplates: [
        {
          metadata: { name },
          spec: { ...spec, storage: { resources: { requests: { storage: "1Gi" } } } },
        },
      ],
      template: {
        spec: {
          domain: { memory: { guest: "64Mi" }, devices: {} },
          volumes: [
            { name: "root", dataVolume: { name } },
            { name: "account", serviceAccount: { serviceAccountName: ACCOUNT } },
          ],
        },
      },
    },
  });

  /** A right in the namespace that is copied from. */
  const right = (name: string, role: string, rule: Rule, subject: object): readonly object[] => {
    const metadata = { namespace: from(name), name: role };
    const roleRef = { apiGroup: RBAC, kind: "Role", name: role };
    const rules = [{ ...rule, verbs: ["create"] }];
    return [
      { apiVersion: `${RBAC}/v1`, kind: "Role", metadata, rules },
      { apiVersion: `${RBAC}/v1`, kind: "RoleBinding", metadata, roleRef, subjects: [subject] },
    ];
  };

  const until = <T>(what: string, of: () => Promise<T | undefined>): Promise<T> =>
    pollUntil(what, { ms: LONG_MS }, of);

  /** Until its condition says so. */
  const untilRefused = (name: string): Promise<string> =>
    until(`${name} is refused`, async () => {
      const { status } = await control().client.get(MACHINES, { namespace: NAMESPACE, name });
      return status?.conditions?.find(({ type }) => type === "Failure")?.message;
    });

  const volumes = async (name: string): Promise<readonly Stored<DataVolume>[]> =>
    (await control().client.list(VOLUMES, { namespace: NAMESPACE })).items.filter(
      ({ metadata }) => metadata.name === name,
    );

  const untilMade = (name: string): Promise<Stored<DataVolume>> =>
    until(`DataVolume ${name}`, async () => (await volumes(name))[0]);

  const pvc = (name: string): Source => ({
    source: { pvc: { namespace: from(name), name: "golden" } },
  });
  const snapshot = (name: string): Source => ({
    source: { snapshot: { namespace: from(name), name: "golden" } },
  });
  /** By a DataSource of the machine's own namespace. */
  const byRef = (name: string): Source => ({ sourceRef: { kind: "DataSource", name } });

  test.each<[string, string, Rule, object, (name: string) => Source]>([
    ["the explicit right", "explicit", EXPLICIT, OURS, pvc],
    ["the implicit right", "implicit", IMPLICIT, OURS, pvc],
    ["the explicit right to that claim alone", "one", ONE, OURS, pvc],
    ["the explicit right of all accounts", "all", EXPLICIT, ALL, pvc],
    ["the explicit right of all accounts here", "here", EXPLICIT, ALL_HERE, pvc],
    ["the explicit right, by a DataSource", "by-ref", EXPLICIT, OURS, byRef],
    ["the explicit right, of a snapshot", "snapshot", EXPLICIT, OURS, snapshot],
    ["both implicit rights, of a snapshot", "both", OF_SNAPSHOTS, OURS, snapshot],
  ])(
    "a machine's volume is refused, and made once its account has %s",
    async (_, name, rule, subject, specOf) => {
      const source = { apiVersion: `${CDI}/v1beta1`, kind: "DataSource", spec: pvc(name) };
      // Whoever writes the machine may do everything, and the account that it does not name may copy: neither counts.
      await apply(
        { apiVersion: "v1", kind: "Namespace", metadata: { name: from(name) } },
        ...right(name, "others", EXPLICIT, { ...OURS, name: "default" }),
        { ...source, metadata: { namespace: NAMESPACE, name } },
        machine(name, specOf(name)),
      ).catch((cause: unknown) => {
        throw new Error(`${name} is not taken`, { cause });
      });
      const user = `system:serviceaccount:${NAMESPACE}:${ACCOUNT}`;
      expect(await untilRefused(name)).toContain(
        `User ${user} has insufficient permissions in clone source namespace ${from(name)}`,
      );
      expect(await volumes(name)).toEqual([]);
      expect(told).toContain(`${name} UnauthorizedDataVolumeCreate`);

      await apply(...right(name, "ours", rule, subject));
      const { spec } = await untilMade(name);
      const wanted = specOf === snapshot ? snapshot(name) : pvc(name);
      expect(spec).toMatchObject(wanted);
      expect(spec.sourceRef).toBeUndefined();
      await until("nothing stands against it", async () => {
        const { status } = await control().client.get(MACHINES, { namespace: NAMESPACE, name });
        const failed = status?.conditions?.some(({ type }) => type === "Failure");
        return failed === true ? undefined : true;
      });
    },
    LONG_MS,
  );

  test("the right to make pods does not do for a snapshot", async () => {
    const name = "half";
    await apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: from(name) } },
      ...right(name, "ours", IMPLICIT, OURS),
      ...right("explicit", "later", IMPLICIT, OURS),
    );
    // What the API server knows of the second role, it knows of the first.
    await apply(machine("seen", pvc("explicit")));
    await untilMade("seen");
    await apply(machine(name, snapshot(name)));
    expect(await untilRefused(name)).toContain("insufficient permissions");
    expect(await volumes(name)).toEqual([]);
  });

  test("a claim that is gone is told of, and the volume made, to wait for it", async () => {
    const name = "gone";
    const own = { source: { pvc: { namespace: NAMESPACE, name: "golden" } } };
    await apply(machine(name, own));
    expect((await untilMade(name)).spec).toMatchObject(own);
    await until("the event", () =>
      Promise.resolve(told.includes(`${name} SourcePVCNotAvailabe`) || undefined),
    );
  });

  test("of its own namespace no right is needed, nor for a volume that is there", async () => {
    const near = { source: { pvc: { namespace: NAMESPACE, name: "other" } } };
    const claim = {
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Gi" } },
    };
    const there = { ...pvc("there"), storage: claim };
    await apply(
      {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        metadata: { namespace: NAMESPACE, name: "other" },
        spec: claim,
      },
      {
        apiVersion: `${CDI}/v1beta1`,
        kind: "DataVolume",
        metadata: { namespace: NAMESPACE, name: "there" },
        spec: there,
      },
      machine("there", pvc("there")),
      machine("near", near),
    );
    expect((await untilMade("near")).spec).toMatchObject(near);
    // It is looked at, and nothing is said against it.
    await until("it has been looked at", async () => {
      const at = { namespace: NAMESPACE, name: "there" };
      const { status } = await control().client.get(MACHINES, at);
      return status?.printableStatus === undefined ? undefined : status;
    });
    expect(told.filter((each) => /^(there|near) (Unauthorized|SourcePVC)/.test(each))).toEqual([]);
  });

  test("a DataSource, and one that names it, say when their claim can be copied", async () => {
    const at = { namespace: NAMESPACE, name: "stable" };
    const dataSource = (name: string, source: object): object => ({
      apiVersion: `${CDI}/v1beta1`,
      ...{ kind: "DataSource", metadata: { namespace: NAMESPACE, name }, spec: { source } },
    });
    const untilSays = (name: string, reason: string): Promise<Stored<DataSource>> =>
      until(`${name} is ${reason}`, async () => {
        const found = await control().client.get(DATA_SOURCES, { ...at, name });
        return found.status?.conditions?.[0]?.reason === reason ? found : undefined;
      });
    await apply(
      dataSource("stable", { pvc: at }),
      dataSource("newest", { dataSource: at }),
      dataSource("third", { dataSource: { ...at, name: "newest" } }),
      dataSource("far", { dataSource: { ...at, namespace: "default" } }),
    );
    for (const name of ["stable", "newest"]) await untilSays(name, "NotFound");
    await untilSays("third", "MaxReferenceDepthReached");
    await untilSays("far", "CrossNamespaceReference");

    const storage = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };
    const claim = { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: at, spec: storage };
    await apply(claim);
    for (const name of ["stable", "newest"]) {
      const { status } = await untilSays(name, "Ready");
      expect(status?.source).toEqual({ pvc: at });
    }
    await apply(machine("by-newest", { sourceRef: { kind: "DataSource", name: "newest" } }));
    // What they stood for when it was made is copied, whatever they say next.
    const { spec } = await untilMade("by-newest");
    expect(spec.source).toEqual({ pvc: at });
    expect(spec.sourceRef).toBeUndefined();
    await control().plane.kubectl.run("delete", "pvc", "stable", "-n", NAMESPACE, "--wait=false");
    const protection = JSON.stringify({ metadata: { finalizers: null } });
    const patch = ["patch", "pvc", "stable", "-n", NAMESPACE, "--type=merge", "-p", protection];
    await control().plane.kubectl.run(...patch);
    const { status } = await untilSays("newest", "NotFound");
    expect(status?.source).toEqual({});
  });
}
