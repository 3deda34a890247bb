// virtctl's commands that read and write objects, and those that are refused, with its own requests in their order.
import { resourceOf } from "@trine/kube-client";
import {
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  VIRTUAL_MACHINE_INSTANCE_MIGRATION,
} from "@trine/kube-types";
import { type VirtctlAnswer, type VirtctlClient, VirtctlObjects } from "@trine/testkit";
import { beforeAll, expect, test } from "vitest";
import type { KubeRest } from "./kube-rest.ts";
import type { VirtApiUnderTest } from "./virt-api-under-test.ts";

const MACHINES = resourceOf(VIRTUAL_MACHINE);
const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
const MIGRATIONS = resourceOf(VIRTUAL_MACHINE_INSTANCE_MIGRATION);
const NAMESPACE = "default";
const NAME = "commanded";
const SPEC = { domain: { memory: { guest: "64Mi" }, devices: {} } };

interface Here {
  readonly admin: VirtctlClient;
  readonly under: VirtApiUnderTest;
  readonly rest: KubeRest;
}

export function virtctlTests(here: () => Here): void {
  const at = { namespace: NAMESPACE, name: NAME };
  const objects = (): VirtctlObjects => new VirtctlObjects(here().admin, NAMESPACE);
  async function asked<T>(
    command: () => Promise<T>,
  ): Promise<{ readonly answer: T; readonly requests: readonly string[] }> {
    const before = here().admin.asked.length;
    return { answer: await command(), requests: here().admin.asked.slice(before) };
  }
  const said = ({ code, text }: VirtctlAnswer): unknown => [
    code,
    (JSON.parse(text) as { message: string }).message,
  ];

  beforeAll(async () => {
    const { system } = here().under;
    const spec = { runStrategy: "Halted", template: { spec: SPEC } };
    await system.create(MACHINES, { metadata: at, spec });
    await system.create(INSTANCES, { metadata: at, spec: SPEC });
  });

  test("expose makes a Service that selects the machine's pod and goes with the machine", async () => {
    const { answer, requests } = await asked(() => objects().expose("virtualmachines", NAME, 22));
    expect(answer.code).toBe(201);
    expect(requests).toEqual([
      `GET /apis/kubevirt.io/v1/namespaces/default/virtualmachines/${NAME}`,
      "POST /api/v1/namespaces/default/services",
    ]);
    expect(JSON.parse(answer.text)).toMatchObject({
      metadata: { ownerReferences: [{ kind: "VirtualMachine", name: NAME }] },
      spec: { selector: { "vmi.kubevirt.io/id": NAME }, ports: [{ port: 22, targetPort: 22 }] },
    });
    const again = await objects().expose("virtualmachineinstances", NAME, 22);
    expect(again.code).toBe(409);
  });

  test("credentials add-ssh-key writes a Secret and the machine", async () => {
    const { answer } = await asked(() => objects().addSshKey(NAME, "ssh-ed25519 AAAA me"));
    expect(answer.code).toBe(200);
    const { spec } = await here().under.system.get(MACHINES, at);
    expect(spec.template.spec?.accessCredentials).toEqual([
      {
        sshPublicKey: {
          source: { secret: { secretName: `${NAME}-ssh-key` } },
          propagationMethod: { qemuGuestAgent: { users: ["root"] } },
        },
      },
    ]);
  });

  test("migrate-cancel deletes the migration that has not ended", async () => {
    const { under, admin } = here();
    expect(await objects().migrateCancel(NAME)).toBeUndefined();
    const movable = { type: "LiveMigratable", status: "True" };
    await under.system.patch(INSTANCES, at, [
      { op: "replace", path: "/status/phase", value: "Running" },
      { op: "add", path: "/status/conditions", value: [movable] },
    ]);
    const metadata = {
      namespace: NAMESPACE,
      name: "moves",
      labels: { "kubevirt.io/vmi-name": NAME },
    };
    await under.system.create(MIGRATIONS, { metadata, spec: { vmiName: NAME } });
    const { answer } = await asked(() => objects().migrateCancel(NAME));
    expect(answer?.code).toBe(200);
    expect(admin.asked.at(-1)).toBe(
      "DELETE /apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations/moves",
    );
    const { items } = await under.system.list(MIGRATIONS, { namespace: NAMESPACE });
    expect(items.filter(({ spec }) => spec.vmiName === NAME)).toEqual([]);
  });

  test("permitted-devices and adm log-verbosity find the one KubeVirt object", async () => {
    expect(JSON.parse((await objects().permittedDevices()).text)).toMatchObject({ items: [] });
    await expect(objects().logVerbosity(5)).rejects.toThrow("there are 0 KubeVirt objects");
    const path = "/apis/kubevirt.io/v1/namespaces/default/kubevirts";
    const object = {
      apiVersion: "kubevirt.io/v1",
      kind: "KubeVirt",
      metadata: { name: "kubevirt" },
      spec: { configuration: {} },
    };
    expect((await here().rest.call("POST", path, object)).code).toBe(201);
    const { text, code } = await objects().logVerbosity(5);
    expect([code, JSON.parse(text)]).toMatchObject([
      200,
      { spec: { configuration: { developerConfiguration: { logVerbosity: { virtAPI: 5 } } } } },
    ]);
  });

  test("vmexport's object is kept, with a warning, and nothing comes of it", async () => {
    const { answer, requests } = await asked(() => objects().vmExport(NAME));
    expect(answer.code).toBe(201);
    expect(requests.map((each) => each.split("/").at(-1))).toEqual([
      `${NAME}-export`,
      "virtualmachineexports",
    ]);
    expect((JSON.parse(answer.text) as { status?: unknown }).status).toBeUndefined();
  });

  test("hot plug and memory dumps are refused in KubeVirt's words, for a machine and for an instance", async () => {
    const gate = "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.";
    const { admin, under } = here();
    await under.system.create(INSTANCES, {
      metadata: { namespace: NAMESPACE, name: "alone" },
      spec: SPEC,
    });
    expect(said(await admin.addVolume(NAME, "extra"))).toEqual([400, gate]);
    expect(said(await admin.removeVolume(NAME, "extra"))).toEqual([400, gate]);
    const { answer, requests } = await asked(() => admin.addVolume("alone", "extra"));
    expect(said(answer)).toEqual([400, gate]);
    expect(requests.map((each) => each.replace(/^(\S+ )\/apis?\//, "$1"))).toEqual([
      "GET cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes/extra",
      "GET v1/namespaces/default/persistentvolumeclaims/extra",
      "PUT subresources.kubevirt.io/v1/namespaces/default/virtualmachines/alone/addvolume",
    ]);
    expect(said(await admin.memoryDump(NAME, "dump"))).toEqual([400, gate]);
    expect(said(await admin.removeMemoryDump(NAME))).toEqual([
      409,
      `Operation cannot be fulfilled on virtualmachine.kubevirt.io "${NAME}": ` +
        `can't remove memory dump association for vm ${NAME}, no association found`,
    ]);
    await expect(admin.usbRedirection(NAME)).rejects.toThrow("Not configured with USB Redirection");
  });

  test("evacuate-cancel takes back what an eviction has asked for", async () => {
    const { under, admin } = here();
    await under.system.patch(INSTANCES, at, [
      { op: "add", path: "/status/evacuationNodeName", value: "node-1" },
      { op: "add", path: "/status/nodeName", value: "node-1" },
    ]);
    expect((await admin.evacuateCancel(NAME)).code).toBe(200);
    expect((await under.system.get(INSTANCES, at)).status?.evacuationNodeName).toBeUndefined();
  });
}
