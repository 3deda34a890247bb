import { TrineError } from "@trine/base";
import type { VirtualMachine, VirtualMachineInstance } from "@trine/kube-types";
import { describe, expect, test } from "vitest";
import { SYSTEM, instance, machine, testDeps } from "../testing.ts";
import { INSTANCES } from "../subresources/objects.ts";
import { MIGRATIONS } from "../subresources/migrate.ts";
import { webhookConfigurations } from "./configurations.ts";
import { HOOKS } from "./hooks.ts";
import { serveHook } from "./serve-hook.ts";

interface Asked {
  readonly operation?: "CREATE" | "UPDATE";
  readonly object: object;
  readonly oldObject?: object;
  readonly user?: string;
  readonly name?: string;
}

interface Said {
  readonly uid: string;
  readonly allowed: boolean;
  readonly status?: { message: string; code: number; details?: { causes: { field?: string }[] } };
  readonly patch?: string;
  readonly warnings?: string[];
}

type Deps = Awaited<ReturnType<typeof testDeps>>;

async function ask(deps: Deps, path: string, asked: Asked): Promise<Said> {
  const { operation = "CREATE", object, oldObject = null, user = "alice" } = asked;
  const review = {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: "review-1",
      kind: { group: "kubevirt.io", version: "v1", ...("kind" in object && { kind: object.kind }) },
      resource: { group: "kubevirt.io", version: "v1", resource: "virtualmachines" },
      name: asked.name ?? "vm",
      namespace: "default",
      operation,
      userInfo: { username: user },
      object,
      oldObject,
      dryRun: false,
    },
  };
  const body = new TextEncoder().encode(JSON.stringify(review));
  const answer = await serveHook(deps, path, new URLSearchParams(), body);
  return (JSON.parse(String(answer.body)) as { response: Said }).response;
}

const vm = (spec: Partial<VirtualMachine["spec"]> = {}, status?: VirtualMachine["status"]) => ({
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachine",
  ...machine({ runStrategy: "Halted", ...spec }, status),
});

const vmi = (phase: string, more: Parameters<typeof instance>[1] = {}) => ({
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachineInstance",
  ...instance(phase, more),
});

function patchIn({ patch = "W10=" }: Said): { op: string; path: string; value?: unknown }[] {
  return JSON.parse(Buffer.from(patch, "base64").toString()) as ReturnType<typeof patchIn>;
}

describe("a machine", () => {
  const MUTATE = "/virtualmachines-mutate";
  const JUDGE = "/virtualmachines-validate";

  test("is given a firmware's identity, once", async () => {
    const deps = await testDeps();
    const said = await ask(deps, MUTATE, { object: vm() });
    const [{ value } = { value: undefined }] = patchIn(said);
    const spec = value as VirtualMachine["spec"];
    const { firmware } = spec.template.spec?.domain ?? {};
    expect(firmware?.uuid).toBe(deps.uuid());
    const before = { ...vm(), spec };
    const other = { ...deps, uuid: () => "another" };
    const again = await ask(other, MUTATE, {
      operation: "UPDATE",
      object: vm(),
      oldObject: before,
    });
    expect(patchIn(again)[0]?.value).toEqual(spec);
    const same = { operation: "UPDATE", object: before, oldObject: before } as const;
    expect((await ask(other, MUTATE, same)).patch).toBeUndefined();
  });

  test("that is new is held for its controller; one that is written anew is not held again", async () => {
    const deps = await testDeps();
    const [, held] = patchIn(await ask(deps, MUTATE, { object: vm() }));
    const path = "/metadata/finalizers";
    const finalizer = "kubevirt.io/virtualMachineControllerFinalize";
    expect(held).toEqual({ op: "add", path, value: [finalizer] });
    const metadata = { name: "vm", finalizers: ["example.com/own"] };
    const [, beside] = patchIn(await ask(deps, MUTATE, { object: { ...vm(), metadata } }));
    expect(beside).toEqual({ op: "add", path, value: ["example.com/own", finalizer] });
    const update = { operation: "UPDATE", object: vm(), oldObject: vm() } as const;
    expect(patchIn(await ask(deps, MUTATE, update)).map((each) => each.path)).toEqual(["/spec"]);
  });

  test("that is no machine is left to the API server's own words", async () => {
    const said = await ask(await testDeps(), MUTATE, { object: { spec: 1 } });
    expect(said).toEqual({ uid: "review-1", allowed: true });
  });

  test("is refused with the paths of its faults", async () => {
    const said = await ask(await testDeps(), JUDGE, { object: vm({ running: true }) });
    expect(said).toMatchObject({ allowed: false, status: { code: 422, reason: "Invalid" } });
    expect(said.status?.details?.causes.map(({ field }) => field)).toEqual(["spec.running"]);
  });

  test("of old rules may be labelled and may go, but not be changed", async () => {
    const deps = await testDeps();
    const old = vm({ running: true });
    const labelled = { ...old, metadata: { ...old.metadata, labels: { a: "b" } } };
    const update = { operation: "UPDATE", oldObject: old } as const;
    expect((await ask(deps, JUDGE, { ...update, object: labelled })).allowed).toBe(true);
    const changed = vm({ running: false, runStrategy: "Always" });
    expect((await ask(deps, JUDGE, { ...update, object: changed })).allowed).toBe(false);
    const deletionTimestamp = "2026-01-01T00:00:00Z";
    const going = { ...changed, metadata: { ...changed.metadata, deletionTimestamp } };
    expect((await ask(deps, JUDGE, { ...update, object: going })).allowed).toBe(true);
  });

  test.each([
    ["running state", { runStrategy: "Always" }],
    [
      "disks or volumes",
      {
        template: {
          spec: {
            domain: { memory: { guest: "1Gi" }, devices: {} },
            volumes: [{ name: "v", emptyDisk: { capacity: "1Gi" } }],
          },
        },
      },
    ],
  ] as const)("keeps its %s while a snapshot is made", async (what, spec) => {
    const status = { snapshotInProgress: "snap" };
    const said = await ask(await testDeps(), JUDGE, {
      operation: "UPDATE",
      object: vm(spec, status),
      oldObject: vm({}, status),
    });
    expect(said.status?.message).toBe(`Cannot update vm ${what} until snapshot "snap" completes`);
  });

  test("is judged with its instance type", async () => {
    const deps = {
      ...(await testDeps()),
      expand: () => Promise.reject(new TrineError("notFound", "no instance type u1.huge")),
    };
    const spec = {
      instancetype: { name: "u1.huge" },
      template: { spec: { domain: { devices: {} } } },
    };
    const said = await ask(deps, JUDGE, { object: vm(spec) });
    expect(said.status).toMatchObject({ code: 422, message: "no instance type u1.huge" });
  });

  test("is told what is deprecated and what nothing acts on", async () => {
    const deps = { ...(await testDeps()), inertFields: (_: unknown, at: string) => [`${at}.x`] };
    const { runStrategy, ...spec } = vm({ running: true }).spec;
    expect(runStrategy).toBe("Halted");
    const said = await ask(deps, JUDGE, { object: { ...vm(), spec } });
    expect(said.warnings).toEqual([
      "spec.running is deprecated, please use spec.runStrategy instead.",
      "spec.template.spec.x is kept, but not acted on",
    ]);
  });
});

describe("an instance", () => {
  const MUTATE = "/virtualmachineinstances-mutate";
  const CHANGE = "/virtualmachineinstances-validate-update";

  test("begins Pending, held by its finalizer, whatever its maker says of its status", async () => {
    const said = await ask(await testDeps(), MUTATE, { object: vmi("Running") });
    expect(patchIn(said)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          path: "/status",
          value: expect.objectContaining({ phase: "Pending" }) as unknown,
        }),
        {
          op: "add",
          path: "/metadata/finalizers",
          value: ["kubevirt.io/foregroundDeleteVirtualMachine"],
        },
      ]),
    );
  });

  test.each([
    ["its machine's controller", SYSTEM, "revision-1"],
    ["a user", "alice", undefined],
  ])("begins with the revision that it was started as from %s: %s", async (_, user, kept) => {
    const status = { virtualMachineRevisionName: "revision-1", nodeName: "n1" };
    const said = await ask(await testDeps(), MUTATE, { object: vmi("Running", { status }), user });
    const patched = patchIn(said).find(({ path }) => path === "/status")?.value;
    expect(patched).toMatchObject({ phase: "Pending" });
    expect(patched).not.toHaveProperty("nodeName");
    expect((patched as VirtualMachineInstance["status"])?.virtualMachineRevisionName).toBe(kept);
  });

  test("has the status that the control plane wrote", async () => {
    const deps = await testDeps();
    const update = {
      operation: "UPDATE",
      object: vmi("Failed"),
      oldObject: vmi("Running"),
    } as const;
    const [lie] = patchIn(await ask(deps, MUTATE, update));
    expect(lie).toMatchObject({ path: "/status", value: { phase: "Running" } });
    expect(patchIn(await ask(deps, MUTATE, { ...update, user: SYSTEM }))).toEqual([]);
  });

  test("does not change for users", async () => {
    const deps = await testDeps();
    const changed = vmi("Running", { spec: { hostname: "x" } });
    const update = { operation: "UPDATE", object: changed, oldObject: vmi("Running") } as const;
    const said = await ask(deps, CHANGE, update);
    expect(said.status?.message).toBe("update of VMI object is restricted");
    expect((await ask(deps, CHANGE, { ...update, user: SYSTEM })).allowed).toBe(true);
  });

  test("does not take the control plane's labels from users", async () => {
    const labels = { "kubevirt.io/created-by": "me" };
    const object = { ...vmi(""), metadata: { name: "vm", labels } };
    const said = await ask(await testDeps(), "/virtualmachineinstances-validate-create", {
      object,
    });
    expect(said.status?.message).toContain("reserved kubevirt.io/ labels");
  });
});

describe("a migration", () => {
  const PATH = "/migration-validate-create";
  const object = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstanceMigration",
    metadata: { name: "m" },
    spec: { vmiName: "vm" },
  };
  const movable = (status: string, reason?: string) =>
    instance("Running", {
      status: {
        conditions: [
          {
            type: "LiveMigratable",
            status,
            ...(reason !== undefined && { reason, message: "so it is" }),
          },
        ],
      },
    });

  test.each([
    ["no machine", undefined, 'the VMI "default/vm" does not exist'],
    ["one that has ended", instance("Succeeded"), "Cannot migrate VMI in finalized state."],
    [
      "one that cannot move",
      movable("False", "DisksNotLiveMigratable"),
      "Cannot migrate VMI, Reason: DisksNotLiveMigratable, Message: so it is",
    ],
  ] as const)("of %s is refused", async (_, of: VirtualMachineInstance | undefined, message) => {
    const deps = await testDeps(of === undefined ? {} : { instance: of });
    expect((await ask(deps, PATH, { object })).status).toEqual({ code: 400, message });
  });

  test("comes after the one before", async () => {
    const deps = await testDeps({ instance: movable("True") });
    expect((await ask(deps, PATH, { object })).allowed).toBe(true);
    const metadata = { namespace: "default", name: "first" };
    await deps.kube.create(MIGRATIONS, { metadata, spec: { vmiName: "vm" } });
    expect((await ask(deps, PATH, { object })).status?.message).toContain("in-flight migration");
  });
});

describe("an eviction", () => {
  const PATH = "/pod-eviction-validate";
  const evict = (deps: Deps, name = "virt-launcher-vm-abcde") =>
    ask(deps, PATH, { object: { kind: "Eviction" }, name });

  test.each([
    ["None", {}, undefined],
    ["LiveMigrateIfPossible", {}, undefined],
    [
      "LiveMigrate",
      {},
      "VMI vm is configured with an eviction strategy but is not live-migratable",
    ],
    ["External", {}, 'Eviction triggered evacuation of VMI "default/vm"'],
    [
      "External",
      { evacuationNodeName: "node-1" },
      'Evacuation in progress: Eviction triggered evacuation of VMI "default/vm"',
    ],
    ["External", { nodeName: "node-2" }, "Eviction request for target Pod"],
  ])("with strategy %s and status %j: %s", async (evictionStrategy, status, message) => {
    const deps = await testDeps({
      instance: instance("Running", { spec: { evictionStrategy }, status }),
    });
    const said = await evict(deps);
    expect([said.allowed, said.status?.message]).toEqual([message === undefined, message]);
    if (message !== undefined) expect(said.status?.code).toBe(429);
  });

  test("of a pod that is no machine's is nothing to us", async () => {
    expect((await evict(await testDeps(), "another")).allowed).toBe(true);
  });

  test("is noted in the machine's status", async () => {
    const deps = await testDeps({
      instance: instance("Running", { spec: { evictionStrategy: "External" } }),
    });
    await evict(deps);
    const { status } = await deps.kube.get(INSTANCES, { namespace: "default", name: "vm" });
    expect(status?.evacuationNodeName).toBe("node-1");
  });
});

test.each([
  ["virtualmachinesnapshots", "VirtualMachineSnapshot", "snapshot.kubevirt.io/v1beta1"],
] as const)("%s are kept with a warning, and do not change", async (plural, kind, apiVersion) => {
  const object = {
    apiVersion,
    kind,
    metadata: { name: "s" },
    spec: { source: { kind: "VirtualMachine", name: "vm" } },
  };
  const deps = await testDeps();
  const path = `/${plural}-validate`;
  const made = await ask(deps, path, { object });
  expect(made.warnings).toEqual([`${kind} is kept, but nothing acts on it in this version`]);
  const changed = { ...object, spec: { source: { kind: "VirtualMachine", name: "b" } } };
  const said = await ask(deps, path, { operation: "UPDATE", object: changed, oldObject: object });
  expect(said.status?.message).toBe("spec in immutable after creation");
});

test.each([
  ["nothing", ""],
  ["another kind", '{"apiVersion":"v1","kind":"Pod"}'],
  ["no request", '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}'],
])("%s is no review", async (_, text) => {
  const deps = await testDeps();
  const body = new TextEncoder().encode(text);
  await expect(
    serveHook(deps, "/virtualmachines-validate", new URLSearchParams(), body),
  ).rejects.toThrow("no AdmissionReview");
});

test("a judge that takes too long is given up in the API server's time", async () => {
  const deps = { ...(await testDeps()), expand: () => new Promise<never>(() => undefined) };
  const spec = { instancetype: { name: "x" }, template: { spec: { domain: { devices: {} } } } };
  const request = {
    uid: "1",
    kind: {},
    resource: {},
    operation: "CREATE",
    userInfo: {},
    object: vm(spec),
  };
  const review = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request };
  const body = new TextEncoder().encode(JSON.stringify(review));
  const query = new URLSearchParams({ timeout: "0s" });
  await expect(serveHook(deps, "/virtualmachines-validate", query, body)).rejects.toThrow(
    "no answer within 0 ms",
  );
});

test("every hook is registered under a name and a path of its own, and only Ignore stands before pods", () => {
  const names = new Set(HOOKS.map(({ name }) => name));
  const paths = new Set(HOOKS.map(({ path }) => path));
  expect([names.size, paths.size]).toEqual([HOOKS.length, HOOKS.length]);
  for (const { resources, whenAway } of HOOKS) {
    expect(whenAway).toBe(resources.includes("pods/eviction") ? "Ignore" : "Fail");
  }
  const client = { at: "https://h:1", authority: "PEM", account: "control" };
  const all = webhookConfigurations(client).flatMap(
    (each) => (each as { webhooks: { name: string; matchConditions?: object[] }[] }).webhooks,
  );
  expect(all).toHaveLength(HOOKS.length);
  // A spec that trine-control changes is judged; what it writes of a status is not sent.
  const sparing = all.filter(({ matchConditions }) => matchConditions !== undefined);
  expect(sparing.map(({ name }) => name)).toEqual([
    "virtualmachineinstances-mutator.kubevirt.io",
    "virtualmachineinstances-update-validator.kubevirt.io",
  ]);
});
