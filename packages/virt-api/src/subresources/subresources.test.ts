import { TrineError } from "@trine/base";
import type { VirtualMachine, VirtualMachineInstance } from "@trine/kube-types";
import { describe, expect, test } from "vitest";
import { parseTarget } from "../http/target.ts";
import { statusOf } from "../refusals/status-of.ts";
import { serveSubresource } from "../server/serve-subresource.ts";
import { instance, machine, testDeps } from "../testing.ts";
import { INSTANCES, MACHINES } from "./objects.ts";

interface Objects {
  readonly machine?: VirtualMachine;
  readonly instance?: VirtualMachineInstance;
}

async function ask(
  path: string,
  objects: Objects,
  body: unknown = "",
  prepare: (deps: Awaited<ReturnType<typeof testDeps>>) => void = () => undefined,
) {
  const deps = await testDeps(objects);
  prepare(deps);
  const [method = "", rest = ""] = path.split(" ");
  const target = parseTarget(`/apis/subresources.kubevirt.io/v1/namespaces/default/${rest}`);
  if (target === undefined) throw new Error(`${rest} is no path`);
  const bytes = new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
  const query = new URLSearchParams();
  const call = { target, query, body: bytes, signal: new AbortController().signal };
  const answer = await serveSubresource(deps, method, call).catch((cause: unknown) => {
    const status = statusOf(cause);
    return { code: status.code, type: "status", body: status.message, status };
  });
  return { deps, code: answer.code, said: String(answer.body), answer };
}

const VM = 'Operation cannot be fulfilled on virtualmachine.kubevirt.io "vm": ';
const VMI = 'Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "vm": ';

function vm(runStrategy: string, status?: VirtualMachine["status"]): VirtualMachine {
  return machine({ runStrategy }, status);
}

const RUNNING = instance("Running");
const condition = (type: string) => ({ conditions: [{ type, status: "True" }] });
const withCondition = (type: string) => instance("Running", { status: condition(type) });

type Row = readonly [
  path: string,
  what: string,
  objects: Objects,
  body: unknown,
  code: number,
  said: string,
];

const ROWS: readonly Row[] = [
  [
    "PUT virtualmachines/vm/start",
    "no machine",
    {},
    {},
    404,
    'virtualmachine.kubevirt.io "vm" not found',
  ],
  [
    "PUT virtualmachines/vm/start",
    "runs",
    { machine: vm("Halted"), instance: RUNNING },
    {},
    409,
    `${VM}VM is already running`,
  ],
  [
    "PUT virtualmachines/vm/start",
    "Always",
    { machine: vm("Always") },
    {},
    409,
    `${VM}Always does not support manual start requests`,
  ],
  [
    "PUT virtualmachines/vm/start",
    "Once",
    { machine: vm("Once") },
    {},
    409,
    `${VM}Once does not support manual start requests`,
  ],
  [
    "PUT virtualmachines/vm/start",
    "RerunOnFailure that failed",
    { machine: vm("RerunOnFailure"), instance: instance("Failed") },
    {},
    409,
    `${VM}RerunOnFailure does not support starting VM from failed state`,
  ],
  [
    "PUT virtualmachines/vm/start",
    "asked twice",
    { machine: vm("Manual", { stateChangeRequests: [{ action: "Start" }] }) },
    {},
    409,
    `${VM}unable to complete request: stop/start already underway`,
  ],
  ["PUT virtualmachines/vm/start", "no options", { machine: vm("Halted") }, "", 202, ""],
  [
    "PUT virtualmachines/vm/start",
    "options in YAML",
    { machine: vm("Halted") },
    "paused: true",
    202,
    "",
  ],
  [
    "PUT virtualmachines/vm/start",
    "broken options",
    { machine: vm("Halted") },
    "{",
    400,
    "Can not unmarshal Request body to struct, error: ",
  ],
  [
    "PUT virtualmachines/vm/start",
    "a wrong type",
    { machine: vm("Halted") },
    { paused: "yes" },
    400,
    "Can not unmarshal Request body to struct, error: paused: ",
  ],
  [
    "PUT virtualmachines/vm/start",
    "another dry run",
    { machine: vm("Halted") },
    { dryRun: ["Some"] },
    400,
    'Unsupported value: "Some"',
  ],
  [
    "PUT virtualmachines/vm/start",
    "a failed volume migration",
    { machine: vm("Halted", condition("ManualRecoveryRequired")) },
    {},
    409,
    `${VM}VM recovery required: `,
  ],
  [
    "PUT virtualmachines/vm/stop",
    "Manual that does not run",
    { machine: vm("Manual") },
    {},
    409,
    `${VM}VM is not running`,
  ],
  [
    "PUT virtualmachines/vm/stop",
    "Halted that does not run",
    { machine: vm("Halted") },
    {},
    409,
    `${VM}VM is not running`,
  ],
  [
    "PUT virtualmachines/vm/stop",
    "Halted again",
    { machine: vm("Halted"), instance: RUNNING },
    {},
    409,
    `${VM}Halted only supports manual stop requests with a shorter graceperiod`,
  ],
  [
    "PUT virtualmachines/vm/stop",
    "Always",
    { machine: vm("Always"), instance: RUNNING },
    {},
    202,
    "",
  ],
  [
    "PUT virtualmachines/vm/restart",
    "a long grace period",
    { machine: vm("Always"), instance: RUNNING },
    { gracePeriodSeconds: 3 },
    400,
    "For force restart, only gracePeriod=0 is supported for now",
  ],
  [
    "PUT virtualmachines/vm/restart",
    "a negative one",
    { machine: vm("Always"), instance: RUNNING },
    { gracePeriodSeconds: -1 },
    400,
    "gracePeriod has to be greater or equal to 0",
  ],
  [
    "PUT virtualmachines/vm/restart",
    "Halted",
    { machine: vm("Halted") },
    {},
    409,
    `${VM}RunStategy Halted does not support manual restart requests`,
  ],
  [
    "PUT virtualmachines/vm/restart",
    "Once",
    { machine: vm("Once") },
    {},
    409,
    `${VM}RunStategy Once does not support manual restart requests`,
  ],
  [
    "PUT virtualmachines/vm/restart",
    "does not run",
    { machine: vm("Always") },
    {},
    409,
    `${VM}VM is not running: Halted`,
  ],
  [
    "PUT virtualmachines/vm/migrate",
    "does not run",
    { machine: vm("Always"), instance: instance("Scheduled") },
    {},
    409,
    `${VM}VM is not running`,
  ],
  [
    "PUT virtualmachines/vm/addvolume",
    "no hot plug",
    { machine: vm("Always") },
    { name: "x" },
    400,
    "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.",
  ],
  [
    "PUT virtualmachines/vm/removevolume",
    "no hot plug",
    { machine: vm("Always") },
    { name: "x" },
    400,
    "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.",
  ],
  [
    "PUT virtualmachineinstances/vm/addvolume",
    "no hot plug",
    { instance: RUNNING },
    {},
    400,
    "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.",
  ],
  [
    "PUT virtualmachines/vm/memorydump",
    "no hot plug",
    { machine: vm("Always") },
    { claimName: "x" },
    400,
    "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.",
  ],
  [
    "PUT virtualmachines/vm/removememorydump",
    "nothing there",
    { machine: vm("Always") },
    "",
    409,
    `${VM}can't remove memory dump association for vm vm, no association found`,
  ],
  [
    "GET virtualmachines/vm/objectgraph",
    "a gate",
    {},
    {},
    400,
    "ObjectGraph feature gate not enabled: Unable to return object graph.",
  ],
  [
    "GET virtualmachineinstances/vm/objectgraph",
    "a gate",
    {},
    {},
    400,
    "ObjectGraph feature gate not enabled: Unable to return object graph.",
  ],
  [
    "GET virtualmachineinstances/vm/sev/fetchcertchain",
    "a gate",
    {},
    "",
    400,
    "'WorkloadEncryptionSEV' feature gate is not enabled",
  ],
  [
    "PUT virtualmachineinstances/vm/sev/setupsession",
    "a gate",
    {},
    {},
    400,
    "'WorkloadEncryptionSEV' feature gate is not enabled",
  ],
  [
    "PUT virtualmachineinstances/vm/backup",
    "no tracking",
    { instance: RUNNING },
    {},
    409,
    `${VMI}ChangedBlockTracking is not enabled`,
  ],
  [
    "PUT virtualmachineinstances/vm/redefine-checkpoint",
    "no tracking",
    { instance: RUNNING },
    {},
    409,
    `${VMI}ChangedBlockTracking is not enabled`,
  ],
  [
    "GET virtualmachineinstances/vm/usbredir",
    "no slots",
    { instance: RUNNING },
    "",
    409,
    `${VMI}Not configured with USB Redirection`,
  ],
  [
    "GET virtualmachineinstances/vm/vsock",
    "no vsock",
    { instance: RUNNING },
    "",
    400,
    "VSOCK is not attached.",
  ],
  [
    "GET virtualmachineinstances/vm/console",
    "no upgrade",
    { instance: RUNNING },
    "",
    400,
    "Bad Request: ",
  ],
  [
    "PUT virtualmachineinstances/vm/pause",
    "no instance",
    {},
    {},
    404,
    'virtualmachineinstance.kubevirt.io "vm" not found',
  ],
  [
    "PUT virtualmachineinstances/vm/pause",
    "does not run",
    { instance: instance("Scheduled") },
    {},
    409,
    `${VMI}VM is not running`,
  ],
  [
    "PUT virtualmachineinstances/vm/pause",
    "paused",
    { instance: withCondition("Paused") },
    {},
    409,
    `${VMI}VMI is already paused`,
  ],
  [
    "PUT virtualmachineinstances/vm/pause",
    "a probe",
    { instance: instance("Running", { spec: { livenessProbe: { tcpSocket: { port: 1 } } } }) },
    {},
    403,
    'virtualmachineinstance.kubevirt.io "vm" is forbidden: Pausing VMIs with a non-GuestAgentPing LivenessProbe is not supported',
  ],
  [
    "PUT virtualmachineinstances/vm/pause",
    "a ping",
    { instance: instance("Running", { spec: { livenessProbe: { guestAgentPing: {} } } }) },
    {},
    200,
    "",
  ],
  [
    "PUT virtualmachineinstances/vm/unpause",
    "does not run",
    { instance: instance("Failed") },
    {},
    409,
    `${VMI}VMI is not running`,
  ],
  [
    "PUT virtualmachineinstances/vm/unpause",
    "not paused",
    { instance: RUNNING },
    {},
    409,
    `${VMI}VMI is not paused`,
  ],
  [
    "PUT virtualmachineinstances/vm/unpause",
    "a snapshot",
    { machine: vm("Always", { snapshotInProgress: "s" }), instance: withCondition("Paused") },
    {},
    409,
    `${VM}VM snapshot is in progress`,
  ],
  [
    "PUT virtualmachineinstances/vm/freeze",
    "does not run",
    { instance: instance("Pending") },
    {},
    409,
    `${VMI}VM is not running`,
  ],
  [
    "PUT virtualmachineinstances/vm/freeze",
    "no duration",
    { instance: RUNNING },
    { unfreezeTimeout: "soon" },
    400,
    "Can not unmarshal Request body to struct, error: unfreezeTimeout: ",
  ],
  [
    "PUT virtualmachineinstances/vm/unfreeze",
    "does not run",
    { instance: instance("Pending") },
    "",
    409,
    `${VMI}VMI is not running`,
  ],
  [
    "PUT virtualmachineinstances/vm/reset",
    "does not run",
    { instance: instance("Scheduled") },
    "",
    409,
    `${VMI}Failed to reset non-running VMI with phase Scheduled: `,
  ],
  [
    "PUT virtualmachineinstances/vm/softreboot",
    "paused",
    { instance: withCondition("Paused") },
    "",
    409,
    `${VMI}VMI is paused`,
  ],
  [
    "PUT virtualmachineinstances/vm/softreboot",
    "no way",
    {
      instance: instance("Running", {
        spec: { domain: { devices: {}, features: { acpi: { enabled: false } } } },
      }),
    },
    "",
    409,
    `${VMI}VMI neither have the agent connected nor the ACPI feature enabled`,
  ],
  [
    "GET virtualmachineinstances/vm/guestosinfo",
    "no agent",
    { instance: RUNNING },
    "",
    500,
    `${VMI}VMI does not have guest agent connected`,
  ],
  [
    "GET virtualmachineinstances/vm/userlist",
    "no agent",
    { instance: RUNNING },
    "",
    500,
    `${VMI}VMI does not have guest agent connected`,
  ],
  [
    "GET virtualmachineinstances/vm/filesystemlist",
    "does not run",
    { instance: instance("Succeeded") },
    "",
    500,
    `${VMI}VMI is not running`,
  ],
  [
    "GET virtualmachineinstances/vm/vnc/screenshot",
    "no graphics",
    {
      instance: instance("Running", {
        spec: { domain: { devices: { autoattachGraphicsDevice: false } } },
      }),
    },
    "",
    500,
    "No graphics devices are present.",
  ],
  [
    "PUT virtualmachineinstances/vm/evacuate/cancel",
    "nothing to cancel",
    { instance: RUNNING },
    "",
    200,
    "",
  ],
  [
    "PUT virtualmachineinstances/vm/evacuate/cancel",
    "no body",
    { instance: instance("Running", { status: { evacuationNodeName: "node-1" } }) },
    "",
    400,
    "No body",
  ],
  [
    "PUT virtualmachines/vm/evacuate/cancel",
    "not started",
    { machine: vm("Halted") },
    {},
    409,
    `${VM}VMI is not started`,
  ],
  ["PUT expand-vm-spec", "nothing", {}, "", 400, "empty request body"],
  [
    "PUT expand-vm-spec",
    "no machine",
    {},
    { spec: {} },
    400,
    "Object is not a valid VirtualMachine",
  ],
  [
    "PUT expand-vm-spec",
    "another namespace",
    {},
    { ...vm("Always"), metadata: { namespace: "other" } },
    400,
    "VM namespace must be empty or default",
  ],
  [
    "GET virtualmachines/vm/expand-spec",
    "no machine",
    {},
    "",
    404,
    'virtualmachine.kubevirt.io "vm" not found',
  ],
  [
    "POST virtualmachines/vm/start",
    "the method",
    { machine: vm("Halted") },
    {},
    405,
    "virtualmachines/start does not serve POST",
  ],
  [
    "PUT virtualmachines/vm/explode",
    "the verb",
    { machine: vm("Halted") },
    {},
    404,
    "the server could not find the requested resource",
  ],
];

test.each(ROWS)("%s: %s", async (path, _, objects, body, code, said) => {
  const answer = await ask(path, objects, body);
  expect(answer.said.slice(0, said.length)).toBe(said);
  expect(answer.code).toBe(code);
  if (code >= 400) expect(answer.deps.kube.writes).toEqual([]);
});

describe("what is written", () => {
  const place = { namespace: "default", name: "vm" };
  const stored = async (deps: Awaited<ReturnType<typeof testDeps>>) =>
    deps.kube.get(MACHINES, place);

  test.each([
    ["start", { runStrategy: "Halted" }, { runStrategy: "Always" }],
    ["start", { running: false }, { running: true }],
    ["stop", { runStrategy: "Always" }, { runStrategy: "Halted" }],
    ["stop", { runStrategy: "Once" }, { runStrategy: "Halted" }],
    ["stop", { running: true }, { running: false }],
  ] as const)("%s of %j makes it %j", async (verb, before, after) => {
    const { deps, code } = await ask(`PUT virtualmachines/vm/${verb}`, {
      machine: machine(before),
    });
    expect(code).toBe(202);
    expect((await stored(deps)).spec).toMatchObject(after);
  });

  test.each([
    ["start", "Manual", undefined, {}, [{ action: "Start" }]],
    [
      "start",
      "Halted",
      undefined,
      { paused: true },
      [{ action: "Start", data: { paused: "true" } }],
    ],
    ["start", "Manual", "Failed", {}, [{ action: "Stop" }, { action: "Start" }]],
    ["start", "RerunOnFailure", "Succeeded", {}, [{ action: "Stop" }, { action: "Start" }]],
    ["stop", "Manual", "Running", {}, [{ action: "Stop" }]],
    ["stop", "RerunOnFailure", "Scheduling", {}, [{ action: "Stop" }]],
    ["restart", "Always", "Running", {}, [{ action: "Stop" }, { action: "Start" }]],
  ] as const)(
    "%s of %s, instance %s: asks its controller",
    async (verb, strategy, phase, body, asked) => {
      const objects = {
        machine: vm(strategy),
        ...(phase !== undefined && { instance: instance(phase) }),
      };
      const { deps, code } = await ask(`PUT virtualmachines/vm/${verb}`, objects, body);
      expect(code).toBe(202);
      const { status, spec } = await stored(deps);
      expect(status?.stateChangeRequests).toMatchObject(asked);
      expect(spec.runStrategy).toBe(strategy);
      const uid =
        phase === undefined ? undefined : (await deps.kube.get(INSTANCES, place)).metadata.uid;
      const stops = status?.stateChangeRequests?.filter(({ action }) => action === "Stop") ?? [];
      for (const each of stops) expect(each.uid).toBe(uid);
    },
  );

  test("a stop takes the place of what was asked before, and of a failed start", async () => {
    const before = {
      stateChangeRequests: [{ action: "Start" as const }],
      startFailure: { consecutiveFailCount: 3 },
    };
    const objects = { machine: vm("Manual", before), instance: RUNNING };
    const { deps } = await ask("PUT virtualmachines/vm/stop", objects);
    const { status } = await stored(deps);
    expect(status?.stateChangeRequests).toMatchObject([{ action: "Stop" }]);
    expect(status).not.toHaveProperty("startFailure");
  });

  test("a dry run writes nothing", async () => {
    for (const verb of ["start", "stop", "restart"]) {
      const strategy = verb === "start" ? "Halted" : "Always";
      const objects = { machine: vm(strategy), ...(verb !== "start" && { instance: RUNNING }) };
      const body = { dryRun: ["All"], ...(verb === "restart" && { gracePeriodSeconds: 0 }) };
      const { deps, code } = await ask(`PUT virtualmachines/vm/${verb}`, objects, body);
      expect(code).toBe(202);
      expect(deps.kube.writes).toEqual([]);
    }
  });

  test("a forced stop and a forced restart leave the guest little time", async () => {
    const stopped = await ask(
      "PUT virtualmachines/vm/stop",
      { machine: vm("Halted"), instance: RUNNING },
      { gracePeriod: 0 },
    );
    expect(stopped.code).toBe(202);
    expect((await stopped.deps.kube.get(INSTANCES, place)).spec.terminationGracePeriodSeconds).toBe(
      0,
    );
    const again = await ask(
      "PUT virtualmachines/vm/restart",
      { machine: vm("Always"), instance: RUNNING },
      { gracePeriodSeconds: 0 },
    );
    expect(again.code).toBe(202);
    expect((await again.deps.kube.get(INSTANCES, place)).spec.terminationGracePeriodSeconds).toBe(
      1,
    );
  });

  test("a restart that cannot be asked for gives the guest its time back", async () => {
    const long = instance("Running", { spec: { terminationGracePeriodSeconds: 180 } });
    const answer = await ask(
      "PUT virtualmachines/vm/restart",
      { machine: vm("Always"), instance: long },
      { gracePeriodSeconds: 0 },
      ({ kube }) => {
        kube.hooks.before = ({ subresource }) => {
          if (subresource === "status") throw new TrineError("unavailable", "no leader");
        };
      },
    );
    expect([answer.code, answer.said]).toEqual([500, "Internal error occurred: no leader"]);
    const { spec } = await answer.deps.kube.get(INSTANCES, place);
    expect(spec.terminationGracePeriodSeconds).toBe(180);
  });

  test("a machine that changed meanwhile is a conflict", async () => {
    const answer = await ask(
      "PUT virtualmachines/vm/start",
      { machine: vm("Halted") },
      {},
      ({ kube }) => {
        kube.hooks.before = () => {
          throw new TrineError("conflict", "the server rejected our request");
        };
      },
    );
    expect(answer.code).toBe(409);
    expect(answer.said).toBe(`${VM}the server rejected our request`);
  });

  test("a migration is a wish under a name of its own", async () => {
    const selector = { zone: "b" };
    const { deps, code } = await ask(
      "PUT virtualmachines/vm/migrate",
      { machine: vm("Always"), instance: RUNNING },
      { addedNodeSelector: selector },
    );
    expect(code).toBe(202);
    const [write] = deps.kube.writes;
    expect(write?.key).toMatch(/^default\/kubevirt-migrate-vm-/);
  });

  test("an evacuation is cancelled for the node that is meant", async () => {
    const objects = { instance: instance("Running", { status: { evacuationNodeName: "node-1" } }) };
    const path = "PUT virtualmachineinstances/vm/evacuate/cancel";
    expect((await ask(path, objects, { evacuationNodeName: "node-2" })).code).toBe(500);
    const { deps, code } = await ask(path, objects, { evacuationNodeName: "node-1" });
    expect(code).toBe(200);
    const { status } = await deps.kube.get(INSTANCES, place);
    expect(status).not.toHaveProperty("evacuationNodeName");
  });
});

describe("what the node is asked", () => {
  const agent = withCondition("AgentConnected");
  test.each([
    ["PUT virtualmachineinstances/vm/pause", RUNNING, {}, ["pause"]],
    ["PUT virtualmachineinstances/vm/unpause", withCondition("Paused"), {}, ["unpause"]],
    [
      "PUT virtualmachineinstances/vm/freeze",
      RUNNING,
      { unfreezeTimeout: "1m30s" },
      ["freeze", 90_000],
    ],
    ["PUT virtualmachineinstances/vm/freeze", RUNNING, "", ["freeze"]],
    ["PUT virtualmachineinstances/vm/unfreeze", RUNNING, "", ["unfreeze"]],
    ["PUT virtualmachineinstances/vm/reset", RUNNING, "", ["reset"]],
    ["PUT virtualmachineinstances/vm/softreboot", RUNNING, "", ["softreboot"]],
    ["GET virtualmachineinstances/vm/guestosinfo", agent, "", ["guestosinfo"]],
    ["GET virtualmachineinstances/vm/userlist", agent, "", ["userlist"]],
    ["GET virtualmachineinstances/vm/filesystemlist", agent, "", ["filesystemlist"]],
    ["GET virtualmachineinstances/vm/vnc/screenshot", RUNNING, "", ["screenshot"]],
  ] as const)("%s", async (path, of, body, [verb, ...more]) => {
    const { deps, code } = await ask(path, { instance: of }, body);
    expect(code).toBe(200);
    const [pod] = (
      await deps.kube.list(
        { group: "", version: "v1", plural: "pods", kind: "Pod", namespaced: true },
        {},
      )
    ).items;
    const ref = { namespace: "default", pod: pod?.metadata.name, uid: pod?.metadata.uid };
    expect(deps.door.asked).toEqual([[verb, ref, ...more]]);
  });

  test("a dry run asks it nothing", async () => {
    const body = { dryRun: ["All"] };
    const { deps, code } = await ask(
      "PUT virtualmachineinstances/vm/pause",
      { instance: RUNNING },
      body,
    );
    expect(code).toBe(200);
    expect(deps.door.asked).toEqual([]);
  });

  test.each([
    ["wrongState", 409, `${VMI}there is no agent`],
    ["unavailable", 500, "Internal error occurred: there is no agent"],
  ] as const)("its refusal of kind %s is %d", async (kind, code, said) => {
    const answer = await ask(
      "PUT virtualmachineinstances/vm/freeze",
      { instance: RUNNING },
      "",
      ({ door }) => {
        door.fails = new TrineError(kind, "there is no agent");
      },
    );
    expect([answer.code, answer.said]).toEqual([code, said]);
  });

  test("guests' words are KubeVirt's types", async () => {
    const { said } = await ask("GET virtualmachineinstances/vm/userlist", { instance: agent });
    expect(JSON.parse(said)).toEqual({
      apiVersion: "kubevirt.io/v1",
      kind: "VirtualMachineInstanceGuestOSUserList",
      metadata: {},
      items: [{ userName: "root" }],
    });
  });

  test("a pod that only wears the label is not the machine's", async () => {
    const answer = await ask("PUT virtualmachineinstances/vm/pause", {
      instance: instance("Running", { status: { activePods: { "another-pod": "node-1" } } }),
    });
    expect([answer.code, answer.said]).toEqual([
      400,
      "VMI default/vm has no running pod on node node-1",
    ]);
  });
});
