// virt-api behind the real API server: discovery, RBAC, subresources, streams and webhooks as users meet them.
import { once } from "node:events";
import { request } from "node:https";
import { readFile } from "node:fs/promises";
import { PODS, resourceOf } from "@trine/kube-client";
import {
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  type VirtualMachine,
  type VirtualMachineInstance,
} from "@trine/kube-types";
import type { VirtctlClient } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KubeRest } from "./kube-rest.ts";
import { faultTests } from "./virt-api-faults.ts";
import { virtctlTests } from "./virt-api-virtctl.ts";
import { rightsTests } from "./virt-api-rights.ts";
import { type VirtApiUnderTest, startVirtApi } from "./virt-api-under-test.ts";

const MACHINES = resourceOf(VIRTUAL_MACHINE);
const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
const SUBRESOURCES = "/apis/subresources.kubevirt.io/v1";
const VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines";
const VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances";

interface Fields {
  readonly [name: string]: unknown;
}

function vm(name: string, more: Fields = {}, domain: Fields = {}): object {
  const spec = { domain: { memory: { guest: "1Gi" }, devices: {}, ...domain } };
  return {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    metadata: { name },
    spec: { template: { spec }, runStrategy: "Halted", ...more },
  };
}

let under: VirtApiUnderTest;
let rest: KubeRest;
let admin: VirtctlClient;

beforeAll(async () => {
  under = await startVirtApi();
  rest = await KubeRest.connect(under.plane);
  admin = await under.virtctl("admin", "system:masters");
}, 3_600_000);

afterAll(async () => {
  admin.close();
  rest.close();
  await under.stop();
});

/** An instance that runs at the door's node, with the pod that its controller would have made. */
async function running(name: string, spec: Partial<VirtualMachineInstance["spec"]> = {}) {
  const { system, door } = under;
  const metadata = { namespace: "default", name };
  const made = await system.create(INSTANCES, {
    metadata,
    spec: { domain: { memory: { guest: "1Gi" }, devices: {} }, ...spec },
  });
  const { uid } = made.metadata;
  const owner = { apiVersion: "kubevirt.io/v1", kind: "VirtualMachineInstance", name, uid };
  const pod = await system.create(PODS, {
    metadata: {
      namespace: "default",
      name: `virt-launcher-${name}`,
      labels: { "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": uid },
      annotations: { "kubevirt.io/domain": name },
      ownerReferences: [{ ...owner, controller: true }],
    },
    spec: {
      nodeName: door.node,
      containers: [{ name: "compute", image: "none" }],
      automountServiceAccountToken: false,
    },
  });
  await system.patch(INSTANCES, metadata, [
    { op: "replace", path: "/status/phase", value: "Running" },
    { op: "add", path: "/status/nodeName", value: door.node },
    { op: "add", path: "/status/interfaces", value: [{ name: "default", ipAddress: "10.1.2.3" }] },
    {
      op: "add",
      path: "/status/conditions",
      value: [{ type: "AgentConnected", status: "True" }],
    },
  ]);
  return { pod, ref: `/v1/machines/default/${pod.metadata.name}`, uid: pod.metadata.uid };
}

describe("discovery", () => {
  test("kubectl finds the subresources, and v1 before v1alpha3", async () => {
    const { kubectl } = under.plane;
    const list = JSON.parse(await kubectl.run("get", "--raw", SUBRESOURCES)) as {
      resources: { name: string; verbs: string[] }[];
    };
    const start = list.resources.find(({ name }) => name === "virtualmachines/start");
    expect(start?.verbs).toEqual(["update"]);
    const group = await kubectl.run("get", "--raw", "/apis/subresources.kubevirt.io");
    expect(JSON.parse(group)).toMatchObject({
      preferredVersion: { groupVersion: "subresources.kubevirt.io/v1" },
    });
    expect(await kubectl.run("api-versions")).toContain("subresources.kubevirt.io/v1alpha3");
  });

  test("the API server takes our OpenAPI", async () => {
    const path = "/openapi/v3/apis/subresources.kubevirt.io/v1";
    const document = await rest.call("GET", path);
    expect(document.code).toBe(200);
    expect(Object.keys(document.body["paths"] as object)).toContain(
      `${SUBRESOURCES}/namespaces/{namespace}/virtualmachines/{name}/start`,
    );
  });

  test("virtctl version and guestfs ask the preferred version", async () => {
    expect(JSON.parse((await admin.info("version")).text)).toMatchObject({ gitVersion: "v1.9.0" });
    expect((await admin.info("guestfs")).code).toBe(200);
    expect(admin.asked.slice(-2)).toEqual([
      "GET /apis/subresources.kubevirt.io",
      `GET ${SUBRESOURCES}/guestfs`,
    ]);
  });
});

describe("webhooks", () => {
  const CDROM = { name: "a", cdrom: { bus: "virtio" }, disk: {} };
  const FAULTS: readonly (readonly [what: string, object: object, field: string])[] = [
    ["two switches", vm("x", { running: true }), "spec.running"],
    ["no switch", vm("x", { runStrategy: undefined }), "spec.runStrategy"],
    [
      "a disk of two kinds",
      vm("x", {}, { devices: { disks: [CDROM] } }),
      "spec.template.spec.domain.devices.disks[0]",
    ],
    ["no memory", vm("x", {}, { memory: {} }), "spec.template.spec.domain.memory.guest"],
  ];

  test.each(FAULTS)("refuse %s with the field's path", async (_, object, field) => {
    const answer = await rest.call("POST", VMS, object);
    expect(answer.code).toBe(422);
    const { message, reason, details } = answer.body as {
      message: string;
      reason: string;
      details: { causes: { field: string }[] };
    };
    const prefix = 'admission webhook "virtualmachine-validator.kubevirt.io" denied the request: ';
    expect(message.startsWith(prefix)).toBe(true);
    expect(reason).toBe("Invalid");
    const fields = details.causes.map((cause) => cause.field);
    expect(fields.some((each) => each.startsWith(field))).toBe(true);
  });

  test("a machine has an identity that outlives its manifest", async () => {
    const first = await rest.call("POST", VMS, vm("identity"));
    expect(first.code).toBe(201);
    const firmware = (object: Fields): unknown =>
      (object as unknown as VirtualMachine).spec.template.spec?.domain.firmware;
    expect(firmware(first.body)).toMatchObject({ uuid: expect.any(String) as unknown });
    const { resourceVersion } = first.body["metadata"] as Fields;
    const again = vm("identity", { runStrategy: "Manual" }) as { metadata: Fields };
    const put = await rest.call("PUT", `${VMS}/identity`, {
      ...again,
      metadata: { ...again.metadata, resourceVersion },
    });
    expect(put.code).toBe(200);
    expect(firmware(put.body)).toEqual(firmware(first.body));
  });

  test("warn of what is deprecated and of what nothing acts on", async () => {
    const gpus = [{ name: "g", deviceName: "vendor/gpu" }];
    const object = vm("warned", { runStrategy: undefined, running: false }, { devices: { gpus } });
    const { code, warnings } = await rest.call("POST", VMS, object);
    expect(code).toBe(201);
    expect(warnings.join()).toContain("spec.running is deprecated");
    expect(warnings.join()).toContain("spec.template.spec.gpus is kept, but not acted on");
  });

  test("an instance is what it was made, and its status the controller's", async () => {
    await running("fixed");
    const patch = (value: Fields) =>
      rest.call(
        "PATCH",
        `${VMIS}/fixed`,
        value,
        "application/json",
        "application/merge-patch+json",
      );
    const changed = await patch({ spec: { hostname: "another" } });
    expect(changed.code).toBe(422);
    expect(changed.body["message"]).toContain("update of VMI object is restricted");
    const lied = await patch({ status: { phase: "Failed" }, metadata: { labels: { a: "b" } } });
    expect(lied).toMatchObject({
      code: 200,
      body: { status: { phase: "Running" }, metadata: { labels: { a: "b" } } },
    });
    const labelled = await patch({ metadata: { labels: { "kubevirt.io/nodeName": "x" } } });
    expect(labelled.code).toBe(422);
  });

  test("a machine that must move first is not evicted", async () => {
    const { pod } = await running("evicted", { evictionStrategy: "External" });
    const path = `/api/v1/namespaces/default/pods/${pod.metadata.name}/eviction`;
    const eviction = {
      apiVersion: "policy/v1",
      kind: "Eviction",
      metadata: { name: pod.metadata.name, namespace: "default" },
    };
    const said = 'Eviction triggered evacuation of VMI "default/evicted"';
    const dry = await rest.call("POST", `${path}?dryRun=All`, eviction);
    expect(dry.code).toBe(429);
    const first = await rest.call("POST", path, eviction);
    expect([first.code, first.body["message"]]).toEqual([
      429,
      `admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: ${said}`,
    ]);
    const at = { namespace: "default", name: "evicted" };
    expect((await under.system.get(INSTANCES, at)).status?.evacuationNodeName).toBe("node-1");
    const second = await rest.call("POST", path, eviction);
    expect(second.body["message"]).toContain(`Evacuation in progress: ${said}`);
  });
});

describe("subresources", () => {
  const at = (name: string) => ({ namespace: "default", name });

  test("virtctl start and stop turn the strategy, for who may", async () => {
    const { kubectl } = under.plane;
    await rest.call("POST", VMS, vm("turned"));
    await kubectl.apply(
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "Role",
        metadata: { name: "starter", namespace: "default" },
        rules: [
          {
            apiGroups: ["subresources.kubevirt.io"],
            resources: ["virtualmachines/start"],
            verbs: ["update"],
          },
        ],
      },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: "starter", namespace: "default" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "starter" },
        subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "alice" }],
      },
    );
    const alice = await under.virtctl("alice");
    // The API server's own view of roles is a moment behind.
    await expect
      .poll(() => alice.start("turned").then(({ code }) => code), { timeout: 30_000 })
      .toBe(202);
    expect((await under.system.get(MACHINES, at("turned"))).spec.runStrategy).toBe("Always");
    const refused = await alice.stop("turned");
    expect(refused.code).toBe(403);
    expect(JSON.parse(refused.text)).toMatchObject({ kind: "Status", reason: "Forbidden" });
    expect((await admin.stop("turned")).code).toBe(202);
    expect((await under.system.get(MACHINES, at("turned"))).spec.runStrategy).toBe("Halted");
    alice.close();
  });

  test("who has no right reaches nothing, verb by verb", async () => {
    await running("closed");
    const mallory = await KubeRest.connect(under.plane, { user: "mallory" });
    const list = await rest.call("GET", SUBRESOURCES);
    const resources = list.body["resources"] as { name: string; verbs: string[] }[];
    const askedBefore = under.door.asked.length;
    expect(resources.length).toBeGreaterThan(30);
    for (const { name, verbs } of resources) {
      const [resource = "", ...sub] = name.split("/");
      const below = sub.length === 0 ? "" : `/closed/${sub.join("/")}`;
      const path = `${SUBRESOURCES}/namespaces/default/${resource}${below}`;
      const isGet = verbs[0] === "get";
      const { code } = await mallory.call(isGet ? "GET" : "PUT", path, isGet ? undefined : {});
      expect([name, code]).toEqual([name, 403]);
    }
    const mallorysVirtctl = await under.virtctl("mallory");
    await expect(mallorysVirtctl.vnc("closed")).rejects.toThrow("403");
    await expect(mallorysVirtctl.console("closed", 5_000)).rejects.toThrow("403");
    expect(under.door.asked.length).toBe(askedBefore);
    mallorysVirtctl.close();
    mallory.close();
  });

  test("what a client says of itself is nothing to us", async () => {
    const { authority } = under.plane;
    const pair = await authority.sign("forger", { user: "front-proxy-client" });
    const [ca, cert, key] = await Promise.all(
      [authority.cert, pair.cert, pair.key].map((path) => readFile(path)),
    );
    const headers = { "x-remote-user": "admin", "x-remote-group": "system:masters" };
    const path = `${SUBRESOURCES}/namespaces/default/virtualmachines/turned/start`;
    const { port } = under.api;
    const sent = request({ host: "127.0.0.1", port, path, method: "PUT", ca, cert, key, headers });
    sent.end();
    const [response] = (await once(sent, "response")) as [{ statusCode: number; resume(): void }];
    response.resume();
    expect(response.statusCode).toBe(401);
  });

  test("a token is as good as the API server's word, a wrong one is none, and a body has an end", async () => {
    const { plane, api } = under;
    const token = (await plane.kubectl.run("create", "token", "default")).trim();
    const ca = await readFile(plane.authority.cert);
    const path = `${SUBRESOURCES}/namespaces/default/virtualmachines/turned/start`;
    const codeOf = async (bearer: string, to = path, method = "PUT", length = 0) => {
      const headers = { authorization: `Bearer ${bearer}`, "content-length": length };
      const sent = request({ host: "127.0.0.1", port: api.port, path: to, method, ca, headers });
      // A body that is only announced: the answer does not wait for it.
      sent.flushHeaders();
      const [response] = (await once(sent, "response")) as [{ statusCode: number }];
      sent.on("error", () => undefined);
      sent.destroy();
      return response.statusCode;
    };
    expect(await codeOf(token)).toBe(403);
    expect(await codeOf(`${token}x`)).toBe(401);
    expect(await codeOf(token, "/apis/subresources.kubevirt.io/v1/else", "GET")).toBe(404);
    expect(await codeOf("x", "/apis/subresources.kubevirt.io/v1/else", "GET")).toBe(401);
    const tooLong = 9 * 1024 * 1024;
    expect(await codeOf("x", "/virtualmachines-validate", "POST", tooLong)).toBe(413);
  });

  test("a Manual machine's controller is asked, twice is a conflict", async () => {
    await rest.call("POST", VMS, vm("manual", { runStrategy: "Manual" }));
    const place = at("manual");
    await under.system.patch(
      MACHINES,
      place,
      [{ op: "add", path: "/status", value: { printableStatus: "Stopped" } }],
      { subresource: "status" },
    );
    expect((await admin.start("manual", { paused: true })).code).toBe(202);
    const { status } = await under.system.get(MACHINES, place);
    expect(status?.stateChangeRequests).toEqual([{ action: "Start", data: { paused: "true" } }]);
    const again = await admin.start("manual");
    expect([again.code, again.text]).toEqual([409, expect.stringContaining("already underway")]);
  });

  test("virtctl's commands about a machine that runs reach its node", async () => {
    const { ref, uid } = await running("busy");
    await rest.call("POST", VMS, vm("busy"));
    const asked = under.door.asked.length;
    const codes = [
      await admin.pauseVm("busy", "pause"),
      await admin.softReboot("busy"),
      await admin.reset("busy"),
      await admin.guest("busy", "guestosinfo"),
      await admin.guest("busy", "userlist"),
      await admin.guest("busy", "filesystemlist"),
      await admin.screenshot("busy"),
    ].map(({ code }) => code);
    expect(codes).toEqual([200, 200, 200, 200, 200, 200, 200]);
    expect(under.door.asked.slice(asked)).toEqual([
      `PUT ${ref}/pause?uid=${uid} {}`,
      `PUT ${ref}/softreboot?uid=${uid} {}`,
      `PUT ${ref}/reset?uid=${uid} {}`,
      `GET ${ref}/guestosinfo?uid=${uid}`,
      `GET ${ref}/userlist?uid=${uid}`,
      `GET ${ref}/filesystemlist?uid=${uid}`,
      `GET ${ref}/screenshot?uid=${uid}`,
    ]);
  });

  test("verbs that are not served are refused in KubeVirt's words", async () => {
    await rest.call("POST", VMS, vm("plain"));
    const refused = [
      await admin.objectGraph("plain"),
      await admin.addVolume("plain", "extra"),
      await admin.migrate("plain"),
      await admin.restart("plain"),
    ].map(({ code, text }) => [code, (JSON.parse(text) as { message: string }).message]);
    const conflict = 'Operation cannot be fulfilled on virtualmachine.kubevirt.io "plain": ';
    expect(refused).toEqual([
      [400, "ObjectGraph feature gate not enabled: Unable to return object graph."],
      [400, "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API."],
      [404, 'virtualmachineinstance.kubevirt.io "plain" not found'],
      [409, `${conflict}RunStategy Halted does not support manual restart requests`],
    ]);
    expect((await admin.expandFile(vm("new"))).code).toBe(200);
    expect((await admin.expandVm("plain")).code).toBe(200);
  });
});

describe("streams through the API server", () => {
  test("a console carries bytes both ways and ends in order", async () => {
    await running("talks");
    const client = await admin.console("talks", 30_000);
    expect(client.protocol).toBe("plain.kubevirt.io");
    const sent = Buffer.from("login: \r\n\u0000ÿ", "latin1");
    client.send(sent);
    const [data, isBinary] = (await once(client, "message")) as [Buffer, boolean];
    expect([Buffer.compare(data, sent), isBinary]).toEqual([0, true]);
    const closed = once(client, "close");
    under.door.endStreams();
    expect((await closed)[0]).toBe(1000);
  });

  test("virtctl console waits for a machine that does not run yet", async () => {
    await expect(admin.console("nobody", 5_000)).rejects.toThrow("404");
    const { system } = under;
    const spec = { domain: { memory: { guest: "1Gi" }, devices: {} } };
    await system.create(INSTANCES, { metadata: at("early"), spec });
    await expect(admin.console("early", 1)).rejects.toThrow("not so within");
  });

  test("a megabyte goes through a port and comes back", async () => {
    await running("served");
    const { uid } = await rest
      .call("GET", `${VMIS}/served`)
      .then(({ body }) => body["metadata"] as { uid: string });
    expect(uid).not.toBe("");
    const client = await admin.portForward("virtualmachineinstances", "served", 8080, "tcp");
    const sent = Buffer.alloc(1024 * 1024, "0123456789abcdef");
    const back: Buffer[] = [];
    const whole = new Promise<void>((resolve) => {
      client.on("message", (data: Buffer) => {
        back.push(data);
        if (back.reduce((sum, { length }) => sum + length, 0) >= sent.length) resolve();
      });
    });
    for (let from = 0; from < sent.length; from += 10_240) {
      client.send(sent.subarray(from, from + 10_240));
    }
    await whole;
    expect(Buffer.compare(Buffer.concat(back), sent)).toBe(0);
    client.close();
    await once(client, "close");
  });

  test("datagrams keep their borders", async () => {
    await running("datagrams");
    const client = await admin.portForward("virtualmachineinstances", "datagrams", 53, "udp");
    const back: string[] = [];
    const both = new Promise<void>((resolve) => {
      client.on("message", (data: Buffer) => {
        if (back.push(data.toString()) === 3) resolve();
      });
    });
    for (const each of ["one", "", "three"]) client.send(each);
    await both;
    expect(back).toEqual(["one", "", "three"]);
    client.close();
    await once(client, "close");
  });

  function at(name: string) {
    return { namespace: "default", name };
  }
});

describe("faults", () => {
  faultTests(() => rest);
});

describe("virtctl", () => {
  virtctlTests(() => ({ admin, under, rest }));
});

describe("rights", () => {
  rightsTests(() => under);
});

test("a new certificate serves new connections", async () => {
  under.api.setCertificate(await under.serving("renewed"));
  expect((await admin.info("version")).code).toBe(200);
  const pair = await under.plane.authority.sign("anybody", { user: "anybody" });
  const [ca, cert, key] = await Promise.all(
    [under.plane.authority.cert, pair.cert, pair.key].map((path) => readFile(path)),
  );
  const sent = request({
    host: "127.0.0.1",
    port: under.api.port,
    path: "/healthz",
    ca,
    cert,
    key,
  });
  sent.end();
  const [response] = (await once(sent, "response")) as [
    { socket: { getPeerCertificate(): { subject: { CN: string } } }; resume(): void },
  ];
  expect(response.socket.getPeerCertificate().subject.CN).toBe("renewed");
  response.resume();
});
