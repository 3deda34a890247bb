import { checkMachineAnnotations } from "@trine/annotations";
import type { Pod } from "@trine/kube-client";
import type { ByPath } from "@trine/kube-types/testing";
import { describe, expect, test } from "vitest";
import { CLAIMS, EMPTY_IMAGE, SETTINGS, UID, instance } from "../testing.ts";
import { shortName } from "./disk-names.ts";
import { inertFields } from "./inert-fields.ts";
import { renderPod } from "./render-pod.ts";
import { launchSettings } from "./settings.ts";

function podOf(fields: ByPath = {}, settings = SETTINGS): Pod {
  const rendering = renderPod(instance(fields), CLAIMS, settings);
  if ("refusals" in rendering) throw new Error(JSON.stringify(rendering.refusals));
  return rendering.pod;
}

function refusalsOf(fields: ByPath, settings = SETTINGS): readonly string[] {
  const rendering = renderPod(instance(fields), CLAIMS, settings);
  return "refusals" in rendering
    ? rendering.refusals.map(({ field, why }) => `${field}: ${why}`)
    : [];
}

function settingsOf(pod: Pod): ReturnType<typeof checkMachineAnnotations>["settings"] {
  const { settings, problems } = checkMachineAnnotations(pod.metadata?.annotations ?? {});
  expect(problems).toEqual([]);
  return settings;
}

function compute(pod: Pod): Readonly<Record<string, unknown>> {
  return pod.spec.containers[0] ?? {};
}

test("a machine of an image is one container of its pod", () => {
  const pod = podOf();
  expect(pod.metadata).toMatchObject({
    name: expect.stringMatching(/^virt-launcher-web-[0-9a-f]{5}$/) as string,
    namespace: "shop",
    labels: {
      "kubevirt.io": "virt-launcher",
      "kubevirt.io/created-by": UID,
      "vmi.kubevirt.io/id": "web",
      "vm.kubevirt.io/name": "web",
    },
    ownerReferences: [
      {
        apiVersion: "kubevirt.io/v1",
        kind: "VirtualMachineInstance",
        name: "web",
        uid: UID,
        controller: true,
      },
    ],
  });
  expect(pod.spec).toMatchObject({
    runtimeClassName: "trine-vm",
    restartPolicy: "Never",
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 30,
    hostname: "web",
    nodeSelector: { "kubernetes.io/arch": "amd64" },
  });
  expect(compute(pod)).toMatchObject({
    name: "compute",
    image: "disks/debian:12",
    imagePullPolicy: "IfNotPresent",
    resources: { requests: { cpu: "100m", memory: "1Gi" } },
  });
  expect(settingsOf(pod)).toMatchObject({
    machine: "compute",
    memoryBytes: 1024 ** 3,
    topology: { sockets: 1, cores: 1, threads: 1 },
    maxCpus: 4,
    maxMemoryBytes: 4 * 1024 ** 3,
    cpuModel: "host-model",
    uuid: UID,
    cloudInit: "off",
    shares: "off",
    display: true,
    networkBindings: { eth0: "masquerade" },
    disks: [{ name: "root", source: { kind: "machine" }, bus: "virtio" }],
  });
});

test("rendering again gives the same pod", () => {
  expect(podOf()).toEqual(podOf());
});

const DISK = "spec.domain.devices.disks[1]";
const VOLUME = "spec.volumes[1]";

/** A second disk: of which volume, how it is shown, what the node is told, and the volume of the pod. */
test.each<[string, object, object, object, object | undefined]>([
  [
    "a claim with a file system",
    { persistentVolumeClaim: { claimName: "data" } },
    { disk: { bus: "scsi" }, serial: "S-1", cache: "none", io: "native", errorPolicy: "enospace" },
    {
      source: { kind: "file", path: "/trine.dev/disks/more" },
      sizeBytes: 9676 * 1024 ** 2,
      bus: "scsi",
      serial: "S-1",
      cache: "none",
      io: "native",
      onError: "enospc",
    },
    { persistentVolumeClaim: { claimName: "data" } },
  ],
  [
    "a claim that is a device",
    { dataVolume: { name: "block" } },
    { disk: { bus: "virtio" }, bootOrder: 2, shareable: true },
    { source: { kind: "device", path: "/dev/trine/more" }, boot: 2, shared: true, onError: "stop" },
    { persistentVolumeClaim: { claimName: "block" } },
  ],
  [
    "a claim that is only read",
    { persistentVolumeClaim: { claimName: "block", readOnly: true } },
    { disk: { bus: "virtio" }, errorPolicy: "report" },
    { readOnly: true, onError: "report" },
    { persistentVolumeClaim: { claimName: "block", readOnly: true } },
  ],
  [
    "a disk on sata that is only read",
    { persistentVolumeClaim: { claimName: "data" } },
    { disk: { bus: "sata", readonly: true } },
    { readOnly: true, bus: "scsi" },
    { persistentVolumeClaim: { claimName: "data", readOnly: true } },
  ],
  [
    "an ephemeral one",
    { ephemeral: { persistentVolumeClaim: { claimName: "data" } } },
    {},
    { ephemeral: true, bus: "sata", source: { kind: "file" } },
    { persistentVolumeClaim: { claimName: "data" } },
  ],
  [
    "an ephemeral device",
    { ephemeral: { persistentVolumeClaim: { claimName: "block" } } },
    {},
    { ephemeral: true, source: { kind: "device" } },
    { persistentVolumeClaim: { claimName: "block" } },
  ],
  [
    "an empty one",
    { emptyDisk: { capacity: "2Gi" } },
    { disk: { bus: "virtio" } },
    { source: { kind: "empty" }, sizeBytes: 2 * 1024 ** 3 },
    undefined,
  ],
  [
    "another image",
    { containerDisk: { image: "disks/tools:1", imagePullPolicy: "Always" } },
    { disk: { bus: "virtio" } },
    { source: { kind: "image", path: "/trine.dev/disks/more" } },
    { image: { reference: "disks/tools:1", pullPolicy: "Always" } },
  ],
  [
    "a drive with a file of an image",
    { containerDisk: { image: "disks/iso:1", path: "/isos/setup.iso" } },
    { cdrom: { bus: "sata" } },
    {
      source: { kind: "file", path: "/trine.dev/disks/more/isos/setup.iso" },
      cdrom: true,
      ephemeral: false,
    },
    { image: { reference: "disks/iso:1", pullPolicy: "IfNotPresent" } },
  ],
  [
    "a file of the node",
    { hostDisk: { path: "/srv/disks/a.img", type: "DiskOrCreate", capacity: "1Gi" } },
    { disk: { bus: "virtio" } },
    { source: { kind: "file", path: "/trine.dev/disks/more/a.img" }, sizeBytes: 1024 ** 3 },
    { hostPath: { path: "/srv/disks", type: "DirectoryOrCreate" } },
  ],
])("a second disk: %s", (_, source, disk, told, volume) => {
  const pod = podOf({ [DISK]: { name: "more", ...disk }, [VOLUME]: { name: "more", ...source } });
  const [root, more] = settingsOf(pod).disks;
  expect(root).toMatchObject({ name: "root", source: { kind: "machine" } });
  expect(more).toMatchObject({ name: "more", ...told });
  const found = (pod.spec.volumes ?? []).find(({ name }) => name === "more");
  if (volume === undefined) expect(found).toBeUndefined();
  else expect(found).toEqual({ name: "more", ...volume });
  const container = compute(pod) as Partial<
    Record<
      "volumeMounts" | "volumeDevices",
      { name: string; mountPath?: string; devicePath?: string }[]
    >
  >;
  const places = [...(container.volumeMounts ?? []), ...(container.volumeDevices ?? [])];
  const at = places.find(({ name }) => name === "more");
  const path = more?.source.kind === "empty" ? undefined : (more?.source as { path: string }).path;
  expect(path?.startsWith(at?.mountPath ?? at?.devicePath ?? "nowhere") ?? at === undefined).toBe(
    true,
  );
});

describe("the root", () => {
  test("is a claim's where it comes first, and the container's image is empty", () => {
    const pod = podOf({
      "spec.volumes[0]": { name: "root", persistentVolumeClaim: { claimName: "block" } },
    });
    expect(compute(pod)["image"]).toBe(EMPTY_IMAGE);
    expect(settingsOf(pod).disks).toMatchObject([
      { name: "root", source: { kind: "device", path: "/dev/trine/root" } },
    ]);
  });

  test("is no drive and no empty disk where there is another", () => {
    const pod = podOf({
      "spec.volumes": [
        { name: "iso", containerDisk: { image: "disks/iso:1" } },
        { name: "scratch", emptyDisk: { capacity: "1Gi" } },
        { name: "system-of-a-long-name", persistentVolumeClaim: { claimName: "data" } },
      ],
      "spec.domain.devices.disks": [
        { name: "iso", cdrom: { bus: "sata" }, bootOrder: 1 },
        { name: "scratch", disk: { bus: "virtio" } },
        { name: "system-of-a-long-name", disk: { bus: "virtio" }, bootOrder: 2 },
      ],
    });
    expect(settingsOf(pod).disks).toMatchObject([
      { name: "root", source: { kind: "file" }, boot: 2 },
      { name: "iso", cdrom: true, boot: 1 },
      { name: "scratch" },
    ]);
  });

  test("of an image with a path is a file of an image volume", () => {
    const pod = podOf({ "spec.volumes[0].containerDisk.path": "/custom/a.qcow2" });
    expect(compute(pod)["image"]).toBe(EMPTY_IMAGE);
    expect(settingsOf(pod).disks).toMatchObject([
      {
        name: "root",
        ephemeral: true,
        source: { kind: "file", path: "/trine.dev/disks/root/custom/a.qcow2" },
      },
    ]);
  });
});

test("two disks whose names are the same when cut keep names of their own", () => {
  const names = ["a-very-long-name-of-a-disk-1", "a-very-long-name-of-a-disk-2", "seed"];
  const pod = podOf({
    "spec.domain.devices.disks": [
      { name: "root", disk: {} },
      ...names.map((name) => ({ name, disk: {} })),
    ],
    "spec.volumes": [
      { name: "root", containerDisk: { image: "i:1" } },
      ...names.map((name) => ({ name, emptyDisk: { capacity: "1Gi" } })),
    ],
  });
  expect(new Set(settingsOf(pod).disks.map(({ name }) => name)).size).toBe(4);
});

describe("first boot", () => {
  const seed = (source: object): ByPath => ({
    [DISK]: { name: "init", disk: { bus: "sata" } },
    [VOLUME]: { name: "init", ...source },
  });

  test("user-data in the spec, plain or base64", () => {
    const userData = "#cloud-config\nhostname: a\n";
    const plain = podOf(seed({ cloudInitNoCloud: { userData } }));
    expect(settingsOf(plain)).toMatchObject({
      cloudInit: "nocloud",
      userData,
      diskBus: "sata",
      networkConfig: "on",
    });
    const userDataBase64 = Buffer.from(userData).toString("base64");
    const coded = podOf(seed({ cloudInitConfigDrive: { userDataBase64 } }));
    expect(settingsOf(coded)).toMatchObject({
      cloudInit: "configdrive",
      userData,
      networkConfig: "off",
    });
  });

  test("a Secret is a volume below /trine.dev, and never in the pod", () => {
    const pod = podOf(
      seed({
        cloudInitNoCloud: {
          secretRef: { name: "init.data" },
          networkDataSecretRef: { name: "init-data" },
        },
      }),
    );
    expect(settingsOf(pod)).toMatchObject({
      userDataFrom: { path: "/trine.dev/secret/init.data" },
      userDataKey: "userdata",
      networkDataFrom: { path: "/trine.dev/secret/init-data" },
    });
    expect(pod.spec.volumes).toMatchObject([
      { secret: { secretName: "init.data" } },
      { secret: { secretName: "init-data" } },
    ]);
    expect(new Set(pod.spec.volumes?.map(({ name }) => name)).size).toBe(2);
  });

  test("public keys of Secrets come with the seed, from any of their keys", () => {
    const keysOf = (secretName: string, propagationMethod: object): object => {
      return { sshPublicKey: { source: { secret: { secretName } }, propagationMethod } };
    };
    const accessCredentials = [
      keysOf("admins", { noCloud: {} }),
      keysOf("others", { configDrive: {} }),
      keysOf("admins", { noCloud: {} }),
      keysOf("later", { qemuGuestAgent: { users: ["root"] } }),
    ];
    const spec = { ...seed({ cloudInitNoCloud: { userData: "#cloud-config" } }) };
    const fields = { ...spec, "spec.accessCredentials": accessCredentials };
    const pod = podOf(fields);
    expect(settingsOf(pod).sshKeysFrom).toMatchObject([
      { path: "/trine.dev/secret/admins" },
      { path: "/trine.dev/secret/others" },
    ]);
    expect(pod.spec.volumes).toMatchObject([
      { secret: { secretName: "admins" } },
      { secret: { secretName: "others" } },
      { secret: { secretName: "later" } },
    ]);
    const inert = inertFields(instance(fields).spec).map(({ field }) => field);
    expect(inert).toEqual([]);
    const unseeded = { "spec.accessCredentials": accessCredentials };
    expect(inertFields(instance(unseeded).spec).map(({ field }) => field)).toEqual([
      "spec.accessCredentials[0].sshPublicKey",
      "spec.accessCredentials[1].sshPublicKey",
      "spec.accessCredentials[2].sshPublicKey",
    ]);
  });

  test("keys and passwords that an agent brings are volumes of Secrets, named for their users", () => {
    const users = (...names: string[]): object => ({ qemuGuestAgent: { users: names } });
    const source = (secretName: string): object => ({ secret: { secretName } });
    const accessCredentials = [
      { sshPublicKey: { source: source("admins"), propagationMethod: users("root", "web") } },
      { sshPublicKey: { source: source("robots"), propagationMethod: users("DOMAIN\\web") } },
      { userPassword: { source: source("admins"), propagationMethod: { qemuGuestAgent: {} } } },
    ];
    const fields = { "spec.accessCredentials": accessCredentials };
    const pod = podOf(fields);
    const admins = { path: "/trine.dev/secret/admins" };
    const robots = { path: "/trine.dev/secret/robots" };
    expect(settingsOf(pod)).toMatchObject({
      userKeysFrom: [
        { user: "root", from: admins },
        { user: "web", from: admins },
        { user: "DOMAIN\\web", from: robots },
      ],
      passwordsFrom: [admins],
      sshKeysFrom: undefined,
    });
    expect(pod.spec.volumes).toMatchObject([
      { secret: { secretName: "admins" } },
      { secret: { secretName: "robots" } },
    ]);
    expect(inertFields(instance(fields).spec)).toEqual([]);
    const wrong = [
      { sshPublicKey: { source: source("a"), propagationMethod: users("ok", "a,b=/etc") } },
    ];
    expect(refusalsOf({ "spec.accessCredentials": wrong })).toEqual([
      "spec.accessCredentials[0].sshPublicKey.propagationMethod.qemuGuestAgent.users[1]: is no name of a user",
    ]);
  });

  test("a machine that is to start paused is one for its node", () => {
    expect(settingsOf(podOf({ "spec.startStrategy": "Paused" }))).toMatchObject({
      start: "paused",
    });
  });

  test("answers of Windows' setup", () => {
    const pod = podOf(seed({ sysprep: { configMap: { name: "answers" } } }));
    expect(settingsOf(pod)).toMatchObject({
      cloudInit: "off",
      sysprepFrom: { path: "/trine.dev/configmap/answers" },
    });
  });

  test("user-data that nobody could read is refused", () => {
    expect(refusalsOf(seed({ cloudInitNoCloud: { userDataBase64: "H4sIAAAAAAAAA/8=" } }))).toEqual([
      "spec.volumes[1].cloudInitNoCloud.userDataBase64: is no text in UTF-8",
    ]);
  });
});

describe("a kernel of an image", () => {
  const FIELD = "spec.domain.firmware.kernelBoot";
  const container = {
    image: "boot/kernel:1",
    imagePullPolicy: "Always",
    imagePullSecret: "boot",
    kernelPath: "/boot/vmlinuz",
    initrdPath: "//boot/initrd",
  };
  const none = { "spec.volumes": [], "spec.domain.devices.disks": [] };

  test("is a volume of the pod, and needs no disk", () => {
    const pod = podOf({ ...none, [FIELD]: { container, kernelArgs: "a=$(b) 'c" } });
    expect(settingsOf(pod)).toMatchObject({
      kernelPath: "/trine.dev/kernel/boot/vmlinuz",
      initrdPath: "/trine.dev/kernel/boot/initrd",
      kernelArgs: "a=$(b) 'c",
      disks: [],
    });
    expect(pod.spec.volumes).toEqual([
      { name: "trine-kernel", image: { reference: "boot/kernel:1", pullPolicy: "Always" } },
    ]);
    expect(pod.spec).toMatchObject({ imagePullSecrets: [{ name: "boot" }] });
    expect(compute(pod)["volumeMounts"]).toEqual([
      { name: "trine-kernel", mountPath: "/trine.dev/kernel", readOnly: true },
    ]);
  });

  test("leaves the disks as they are; one that holds nothing is no root then", () => {
    const root = podOf({ [FIELD]: { container } });
    expect(settingsOf(root)).toMatchObject({ disks: [{ name: "root" }] });
    const scratch = podOf({
      "spec.volumes": [{ name: "scratch", emptyDisk: { capacity: "1Gi" } }],
      "spec.domain.devices.disks": [{ name: "scratch", disk: { bus: "virtio" } }],
      [FIELD]: { container },
    });
    expect(settingsOf(scratch)).toMatchObject({ disks: [{ name: "scratch" }] });
  });

  test("is refused where there is none, or no place for its image", () => {
    const { kernelPath, ...initrdOnly } = container;
    expect(kernelPath).toBeDefined();
    expect(refusalsOf({ [FIELD]: { container: initrdOnly } })).toEqual([
      `${FIELD}.container.initrdPath: is of a kernel: give kernelPath`,
    ]);
    expect(refusalsOf({ [FIELD]: { container } }, { ...SETTINGS, imageVolumes: false })).toEqual([
      `${FIELD}.container: the cluster has images as volumes turned off, and the kernel is in one`,
    ]);
  });
});

describe("what the API holds as text", () => {
  test("is a directory of the guest's where a file system names it", () => {
    const pod = podOf({
      "spec.volumes[1]": { name: "app", configMap: { name: "app", optional: true } },
      "spec.volumes[2]": { name: "who", serviceAccount: { serviceAccountName: "robot" } },
      "spec.volumes[3]": { name: "files", persistentVolumeClaim: { claimName: "data" } },
      "spec.domain.devices.filesystems": ["app", "who", "files"].map((name) => {
        return { name, virtiofs: {} };
      }),
    });
    expect(settingsOf(pod)).toMatchObject({
      shares: "virtiofs",
      shareTags: {
        app: "/run/trine/volumes/app",
        who: "/var/run/secrets/kubernetes.io/serviceaccount",
        files: "/run/trine/volumes/files",
      },
      disks: [{ name: "root" }],
    });
    expect(compute(pod)["volumeMounts"]).toEqual([
      { name: "app", mountPath: "/run/trine/volumes/app", readOnly: true },
      { name: "files", mountPath: "/run/trine/volumes/files" },
    ]);
    expect(pod.spec).toMatchObject({
      serviceAccountName: "robot",
      automountServiceAccountToken: true,
    });
  });

  test("is no file system that a guest could not mount", () => {
    const long = "a".repeat(37);
    const many = Array.from({ length: 7 }, (_, index) => `v${index}`);
    const names = [long, "blank", ...many];
    const configMap = { name: "app" };
    const volumes = names.map((name) => ({
      name,
      ...(name === "blank" ? { emptyDisk: { capacity: "1Mi" } } : { configMap }),
    }));
    const of = "spec.domain.devices.filesystems";
    const refusals = refusalsOf({
      ...Object.fromEntries(volumes.map((each, index) => [`spec.volumes[${index + 1}]`, each])),
      [of]: names.map((name) => ({ name, virtiofs: {} })),
    });
    expect(refusals.slice(0, 3)).toEqual([
      `${of}: are 9: at most 8`,
      `${of}[0].name: is longer than 36 characters, which no guest takes as a tag`,
      `${of}[1].name: is no volume that a file system can be made of`,
    ]);
  });

  const fields = [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }];
  const TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount";
  test.each<[string, object, object, object, object | undefined]>([
    [
      "a ConfigMap with a label",
      { configMap: { name: "app", volumeLabel: "OEMDRV" } },
      { disk: { bus: "virtio", readonly: true }, serial: "CFG", shareable: true },
      { source: { path: "/trine.dev/disks/more", label: "OEMDRV" }, bus: "virtio", serial: "CFG" },
      { configMap: { name: "app" } },
    ],
    [
      "a Secret in a drive",
      { secret: { secretName: "keys", optional: true } },
      { cdrom: { bus: "scsi" } },
      { source: { path: "/trine.dev/disks/more", label: "cfgdata" }, bus: "scsi", cdrom: true },
      { secret: { secretName: "keys", optional: true } },
    ],
    [
      "what is said of its pod",
      { downwardAPI: { fields } },
      {},
      { source: { path: "/trine.dev/disks/more" }, bus: "sata", shared: false },
      { downwardAPI: { items: fields } },
    ],
    [
      "a service account",
      { serviceAccount: { serviceAccountName: "robot" } },
      { disk: { bus: "sata", readonly: true } },
      { source: { path: TOKEN }, bus: "sata" },
      undefined,
    ],
  ])("is a disk of files: %s", (_, source, disk, told, volume) => {
    const pod = podOf({ [DISK]: { name: "more", ...disk }, [VOLUME]: { name: "more", ...source } });
    const { disks, shares } = settingsOf(pod);
    expect(shares).toBe("off");
    expect(disks).toMatchObject([
      { name: "root", source: { kind: "machine" } },
      { name: "more", readOnly: true, source: { kind: "files" } },
    ]);
    expect(disks[1]).toMatchObject(told);
    const volumes = pod.spec.volumes ?? [];
    expect(volumes).toEqual(volume === undefined ? [] : [{ name: "more", ...volume }]);
    expect(pod.spec["automountServiceAccountToken"]).toBe(volume === undefined);
  });

  test("is no root, and has a label that disks can have", () => {
    const only = { "spec.volumes": [{ name: "root", configMap: { name: "app" } }] };
    expect(settingsOf(podOf(only))).toMatchObject({
      root: "none",
      disks: [{ name: shortName("root") }],
    });
    const source = { secret: { secretName: "a", volumeLabel: "no label" } };
    const fields = { [DISK]: { name: "more" }, [VOLUME]: { name: "more", ...source } };
    expect(refusalsOf(fields)).toEqual([
      "spec.volumes[1].secret.volumeLabel: is no label of a disk: 1 to 16 of letters, digits, _ and -",
    ]);
  });
});

test("networks by Multus, with their MACs and bindings", () => {
  const pod = podOf({
    "spec.networks": [
      { name: "default", pod: {} },
      { name: "blue", multus: { networkName: "blue" } },
      { name: "red", multus: { networkName: "net/red" } },
    ],
    "spec.domain.devices.interfaces": [
      { name: "default", bridge: {}, ports: [{ name: "http", port: 80 }] },
      { name: "blue", bridge: {}, macAddress: "02:00:00:00:00:01" },
      { name: "red", binding: { name: "macvtap" } },
    ],
  });
  expect(JSON.parse(pod.metadata?.annotations?.["k8s.v1.cni.cncf.io/networks"] ?? "")).toEqual([
    { namespace: "shop", name: "blue", interface: "net1", mac: "02:00:00:00:00:01" },
    { namespace: "net", name: "red", interface: "net2" },
  ]);
  expect(settingsOf(pod).networkBindings).toEqual({ net2: "macvtap" });
  expect(compute(pod)["ports"]).toEqual([{ name: "http", containerPort: 80, protocol: "TCP" }]);
});

test("a card is of its model, and one that is masqueraded has its own MAC", () => {
  const pod = podOf({
    "spec.networks": [
      { name: "default", pod: {} },
      { name: "blue", multus: { networkName: "blue" } },
    ],
    "spec.domain.devices.interfaces": [
      { name: "default", masquerade: {}, model: "e1000e", macAddress: "02-00-00-00-00-AB" },
      { name: "blue", bridge: {}, model: "igb", macAddress: "02:00:00:00:00:01" },
    ],
  });
  expect(settingsOf(pod)).toMatchObject({
    networkModels: { eth0: "e1000e" },
    networkMac: "02:00:00:00:00:ab",
  });
  const interfaces = [{ name: "default", bridge: {}, macAddress: "02:00:00:00:00:01" }];
  const bridged = podOf({ "spec.domain.devices.interfaces": interfaces });
  expect(settingsOf(bridged).networkMac).toBe("02:00:00:00:00:01");
});

const CIDRS = { vmNetworkCIDR: "10.11.12.0/24", vmIPv6NetworkCIDR: "fd10:10:10::/120" };
const PORTS = {
  ports: [
    { name: "http", port: 80 },
    { port: 53, protocol: "UDP" },
  ],
  portRanges: [{ protocol: "TCP", start: 8000, end: 8010 }],
};

test.each([
  [{ pod: {} }, { masquerade: {} }, {}],
  [{ pod: { vmNetworkCIDR: "" } }, { masquerade: {}, ports: [], state: "up" }, {}],
  [
    { pod: CIDRS },
    { masquerade: {} },
    { eth0: { ipv4: CIDRS.vmNetworkCIDR, ipv6: CIDRS.vmIPv6NetworkCIDR } },
  ],
  [
    { pod: {} },
    { masquerade: {}, ...PORTS },
    {
      eth0: {
        ports: [
          { protocol: "tcp", first: 80, last: 80 },
          { protocol: "udp", first: 53, last: 53 },
          { protocol: "tcp", first: 8000, last: 8010 },
        ],
      },
    },
  ],
  // Frame by frame nothing is hidden: they tell of the guest, as KubeVirt's do.
  [{ pod: CIDRS }, { bridge: {}, ...PORTS }, {}],
  [{ pod: {} }, { bridge: {}, state: "down" }, { eth0: { link: "down" } }],
] as const)("a network %j and its interface %j are said to the node", (network, of, said) => {
  const pod = podOf({
    "spec.networks": [{ name: "default", ...network }],
    "spec.domain.devices.interfaces": [{ name: "default", ...of }],
  });
  expect(settingsOf(pod).interfaces).toEqual(said);
});

test("passt listens at the ports of the spec", () => {
  const pod = podOf({
    "spec.domain.devices.interfaces": [
      { name: "default", passtBinding: {}, ports: [{ port: 22 }, { port: 53, protocol: "UDP" }] },
    ],
  });
  expect(pod.metadata?.annotations).toMatchObject({
    "trine.dev/ports": "compute=22,compute=53/udp",
  });
});

const CPU = "spec.domain.cpu";
const RESOURCES = "spec.domain.resources";

test.each<[string, ByPath, object]>([
  [
    "what is asked for",
    { [RESOURCES]: { requests: { cpu: "1", memory: "512Mi" } } },
    { requests: { cpu: "1", memory: "512Mi" } },
  ],
  [
    "limits",
    { [RESOURCES]: { limits: { cpu: "2", memory: "2Gi", "example.com/x": "1" } } },
    {
      requests: { cpu: "2", memory: "1Gi" },
      limits: { cpu: "2", memory: "2Gi", "example.com/x": "1" },
    },
  ],
  ["a share of each processor", { [CPU]: { sockets: 2, cores: 2 } }, { requests: { cpu: "400m" } }],
  [
    "processors of its own",
    { [CPU]: { cores: 2, dedicatedCpuPlacement: true, isolateEmulatorThread: true } },
    { requests: { cpu: "3", memory: "1Gi" }, limits: { cpu: "3", memory: "1Gi" } },
  ],
  [
    "huge pages",
    { "spec.domain.memory.hugepages": { pageSize: "2Mi" } },
    {
      requests: { "hugepages-2Mi": "1Gi", memory: "1Mi" },
      limits: { "hugepages-2Mi": "1Gi", memory: "1Mi" },
    },
  ],
  [
    "overhead that is added",
    { "spec.domain.memory.reservedOverhead": { addedOverhead: "64Mi" } },
    { requests: { memory: "1088Mi" } },
  ],
  [
    "devices of plugins",
    {
      "spec.domain.devices.gpus": [
        { name: "g", deviceName: "example.com/gpu" },
        { name: "h", deviceName: "example.com/gpu" },
      ],
    },
    { requests: { "example.com/gpu": "2" }, limits: { "example.com/gpu": "2" } },
  ],
])("resources: %s", (_, fields, resources) => {
  expect(compute(podOf(fields))["resources"]).toMatchObject(resources);
});

test("the cluster's settings", () => {
  const settings = launchSettings(
    {
      developerConfiguration: {
        cpuAllocationRatio: 1,
        memoryOvercommit: 200,
        nodeSelectors: { pool: "vms" },
      },
      additionalGuestMemoryOverheadRatio: "1.5",
      smbios: { manufacturer: "Example" },
    },
    { emptyImage: EMPTY_IMAGE },
  );
  const pod = podOf({}, settings);
  expect(compute(pod)["resources"]).toEqual({ requests: { cpu: "1000m", memory: "560Mi" } });
  expect(pod.spec["nodeSelector"]).toMatchObject({ pool: "vms" });
  expect(settingsOf(pod).smbios).toEqual({ manufacturer: "Example" });
});

test("probes are kubelet's", () => {
  const pod = podOf({
    "spec.readinessProbe": { tcpSocket: { port: 22 }, periodSeconds: 5 },
    "spec.livenessProbe": { guestAgentPing: {}, initialDelaySeconds: 60 },
  });
  expect(compute(pod)).toMatchObject({
    readinessProbe: { tcpSocket: { port: 22 }, periodSeconds: 5 },
    livenessProbe: { exec: { command: ["true"] }, initialDelaySeconds: 60 },
  });
});

test("where it runs and what it is called", () => {
  const fields = {
    nodeSelector: { disk: "ssd" },
    affinity: {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } },
    },
    tolerations: [{ key: "a", operator: "Exists" }],
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule" },
    ],
    priorityClassName: "high",
    schedulerName: "mine",
    dnsPolicy: "None",
    dnsConfig: { nameservers: ["10.0.0.1"] },
    hostname: "db1",
    subdomain: "db",
    terminationGracePeriodSeconds: 7,
  };
  const paths = Object.entries(fields).map(([name, value]) => [`spec.${name}`, value] as const);
  const { nodeSelector, ...others } = fields;
  const { spec } = podOf(Object.fromEntries(paths));
  expect(spec).toMatchObject(others);
  expect(spec["nodeSelector"]).toMatchObject(nodeSelector);
});

test("no machine has no time at all to end: the API server would forget a pod that still runs", () => {
  const { spec } = podOf({ "spec.terminationGracePeriodSeconds": 0 });
  expect(spec).toMatchObject({ terminationGracePeriodSeconds: 1 });
});

describe("containers beside the machine", () => {
  const beside = (text: string): ByPath => ({
    "metadata.annotations": { "trine.dev/containers": text, team: "blue" },
    "spec.domain.devices.interfaces": [{ name: "default", bridge: {} }],
  });

  test("are added, with no privilege of the node", () => {
    const pod = podOf(beside("[{name: proxy, image: nginx, ports: [{containerPort: 443}]}]"));
    expect(pod.spec.containers).toHaveLength(2);
    expect(pod.spec.containers[1]).toMatchObject({
      name: "proxy",
      image: "nginx",
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    });
    expect(pod.metadata?.annotations?.["trine.dev/containers"]).toBeUndefined();
    expect(pod.metadata?.annotations?.["team"]).toBe("blue");
  });

  test.each([
    [
      "[{name: a, image: i, securityContext: {privileged: true}}]",
      /"securityContext" is not for it/,
    ],
    ["[{name: a, image: i, volumeDevices: []}]", /"volumeDevices" is not for it/],
    ["[{name: compute, image: i}]", /the name compute is taken/],
    ["[{name: a}]", /image is missing/],
    ["{name: a}", /is not a list/],
    ["[&a {name: a, image: i}, *a]", /has aliases/],
    ["[1]", /is no mapping/],
  ])("refuses %s", (text, why) => {
    expect(refusalsOf(beside(text))).toEqual([expect.stringMatching(why)]);
  });
});

test("containers that are too long a text are refused", () => {
  const annotations = { "trine.dev/containers": `[${"x".repeat(20_000)}]` };
  expect(refusalsOf({ "metadata.annotations": annotations })).toEqual([
    expect.stringMatching(/more than 16384 bytes/),
  ]);
});

test("annotations of the machine come through where the spec is silent", () => {
  const annotations = { "trine.dev/guest-agent": "off", "trine.dev/console": "virtio" };
  const pod = podOf({ "metadata.annotations": annotations });
  expect(pod.metadata?.annotations).toMatchObject(annotations);
});

test("a machine without any disk starts, from the image that is empty", () => {
  const pod = podOf({ "spec.volumes": [], "spec.domain.devices.disks": [] });
  expect(settingsOf(pod)).toMatchObject({ root: "none", disks: [] });
  expect(compute(pod)).toMatchObject({ image: SETTINGS.emptyImage });
  expect(settingsOf(podOf()).root).toBe("disk");
});

test.each<[string, ByPath, string[]]>([
  [
    "a claim that is not there",
    { "spec.volumes[0]": { name: "root", persistentVolumeClaim: { claimName: "gone" } } },
    ["spec.volumes[0].persistentVolumeClaim.claimName: there is no PersistentVolumeClaim gone"],
  ],
  [
    "a board that is none",
    { "spec.domain.machine.type": "pc" },
    [
      "spec.domain.machine.type: i440FX is no board here, nor is it one of KubeVirt's own: take q35",
    ],
  ],
  [
    "another architecture",
    { "spec.architecture": "arm64" },
    ["spec.architecture: arm64 machines are not there yet: amd64 is"],
  ],
  ["threads", { [CPU]: { threads: 4 } }, ["spec.domain.cpu.threads: at most 2 threads a core"]],
  [
    "too many processors",
    { [CPU]: { sockets: 16, cores: 16 } },
    ["spec.domain.cpu: comes to 256 processors: at most 255"],
  ],
  [
    "a confidential machine",
    { "spec.domain.launchSecurity": { sev: {} } },
    [
      "spec.domain.launchSecurity: there are no confidential machines here, and one without would not be what was asked for",
    ],
  ],
  [
    "a contradiction",
    { "metadata.annotations": { "trine.dev/memory": "2Gi" } },
    ["metadata.annotations[trine.dev/memory]: says something else than the spec: keep one"],
  ],
  [
    "an unknown annotation",
    { "metadata.annotations": { "trine.dev/nonsense": "1" } },
    [expect.stringContaining("belongs to no known annotation") as string],
  ],
])("refuses %s", (_, fields, wanted) => {
  expect(refusalsOf(fields)).toEqual(wanted);
});

test("images as volumes are refused where the cluster has them turned off", () => {
  const settings = launchSettings(
    { developerConfiguration: { disabledFeatureGates: ["ImageVolume"] } },
    { emptyImage: EMPTY_IMAGE },
  );
  const fields = {
    [DISK]: { name: "more", disk: {} },
    [VOLUME]: { name: "more", containerDisk: { image: "i:1" } },
  };
  expect(refusalsOf(fields, settings)).toEqual([
    expect.stringContaining("images as volumes turned off"),
  ]);
});

test("long names are cut to what labels and hosts take", () => {
  const name = `${"a".repeat(62)}-b.example`;
  const pod = podOf({ "metadata.name": name });
  expect(pod.metadata?.labels?.["vmi.kubevirt.io/id"]?.length).toBeLessThanOrEqual(63);
  expect(pod.spec["hostname"]).toBe("a".repeat(62));
});
