import { expect, test } from "vitest";
import { FIRST_BOOT_ANNOTATIONS } from "./first-boot-annotations.ts";
import { HARDWARE_ANNOTATIONS } from "./hardware-annotations.ts";
import { MACHINE_ANNOTATIONS } from "./machine-annotations.ts";
import { MICROVM_ANNOTATIONS } from "./microvm-annotations.ts";
import {
  checkMachineAnnotations,
  parseMachineAnnotations,
  parseMicrovmAnnotations,
  toError,
} from "./parse-annotations.ts";

function problemsOf(annotations: Record<string, string>): string[] {
  return toError(checkMachineAnnotations(annotations).problems).message.split("\n");
}

test("gives the defaults to a pod without annotations", () => {
  const hardware: Readonly<Record<string, unknown>> = {
    ...{ firmwareSerial: false, secureBoot: false, firmwarePersistent: false, tpm: "off" },
    ...{ watchdog: "off", usb: false, usbRedirections: 0, sound: "off", panic: "isa" },
    ...{ vsock: false, balloon: true, cpuPinning: "off", onReboot: "restart" },
    ...{ virtioTransitional: false, keyboard: "off", diskMultiqueue: false },
  };
  const unset = HARDWARE_ANNOTATIONS.map(({ setting }): [string, undefined] => [
    setting,
    undefined,
  ]);
  expect(parseMachineAnnotations({})).toEqual({
    ...Object.fromEntries(unset),
    ...hardware,
    machine: undefined,
    imports: undefined,
    disks: [],
    root: "disk",
    diskBus: "virtio",
    shares: "virtiofs",
    shareTags: {},
    cpus: undefined,
    memoryBytes: undefined,
    cpuModel: undefined,
    firmware: "bios",
    console: "serial",
    rootSizeBytes: undefined,
    cloudInit: "nocloud",
    agent: false,
    userData: undefined,
    userDataFrom: undefined,
    userDataKey: undefined,
    userDataEncoding: "plain",
    userDataMerge: "merge",
    metaData: undefined,
    sshKeys: [],
    sshKeysFrom: undefined,
    filesFrom: undefined,
    networkConfig: "on",
    networkData: undefined,
    networkDataFrom: undefined,
    ignition: undefined,
    ignitionFrom: undefined,
    sysprepFrom: undefined,
    networkBindings: { "*": "tap" },
    networkMultiqueue: false,
    interfaces: {},
    networkModels: {},
    networkMac: undefined,
    ports: [],
    start: "running",
    guestAgent: true,
    display: false,
    uuid: undefined,
    hostname: undefined,
    kernelPath: undefined,
    initrdPath: undefined,
    kernelArgs: undefined,
  });
});

test.each(MACHINE_ANNOTATIONS)("takes $key's own example", ({ key: name, example }) => {
  const needed = NEEDED[name] ?? {};
  expect(checkMachineAnnotations({ [name]: example, ...needed }).problems).toEqual([]);
});

test("files are a drive on sata; a disk that is read-only is refused there", () => {
  const problems = (disk: string): number =>
    checkMachineAnnotations({ "trine.dev/disk-bus": "sata", "trine.dev/disks": `- ${disk}` })
      .problems.length;
  expect(problems("{name: a, files: /a}")).toBe(0);
  expect(problems("{name: a, file: /a, readOnly: true}")).toBe(1);
});

/** What says nothing alone. */
const NEEDED: Readonly<Record<string, Record<string, string>>> = {
  "trine.dev/network-mac": { "trine.dev/network-binding": "masquerade" },
  "trine.dev/initrd": { "trine.dev/kernel": "/boot/vmlinuz" },
  "trine.dev/kernel-args": { "trine.dev/kernel": "/boot/vmlinuz" },
  "trine.dev/ports": { "trine.dev/machine": "machine" },
  "trine.dev/interfaces": { "trine.dev/network-binding": "masquerade" },
  "trine.dev/max-memory": { "trine.dev/memory": "64Mi" },
  "trine.dev/firmware-persistent": { "trine.dev/firmware": "uefi", "trine.dev/state": "/state" },
  "trine.dev/secure-boot": { "trine.dev/firmware": "uefi" },
  "trine.dev/state": { "trine.dev/tpm": "persistent" },
  "trine.dev/tpm": { "trine.dev/state": "/state" },
  "trine.dev/video": { "trine.dev/display": "on" },
  "trine.dev/vsock-cid": { "trine.dev/vsock": "on" },
  "trine.dev/user-data-key": { "trine.dev/user-data-from": "/seed" },
  "trine.dev/user-data-encoding": { "trine.dev/user-data-from": "/seed" },
};

test.each([
  ["trine.dev/cpus", " 255 ", "cpus", 255],
  ["trine.dev/memory", "1.5Gi", "memoryBytes", 1610612736],
  ["trine.dev/root-size", "20G", "rootSizeBytes", 20_000_000_000],
  [
    "trine.dev/uuid",
    "4C4C4544-0043-3510-8052-B4C04F4E3432",
    "uuid",
    "4c4c4544-0043-3510-8052-b4c04f4e3432",
  ],
  ["trine.dev/network-binding", "masquerade", "networkBindings", { "*": "masquerade" }],
  [
    "trine.dev/network-binding",
    "eth0=tap, net1=masquerade",
    "networkBindings",
    { eth0: "tap", net1: "masquerade" },
  ],
  [
    "trine.dev/network-binding",
    "eth0=passt,net1=macvtap",
    "networkBindings",
    { eth0: "passt", net1: "macvtap" },
  ],
  ["trine.dev/network-multiqueue", "on", "networkMultiqueue", true],
] as const)("reads %s: %j", (name, text, setting, value) => {
  expect(parseMachineAnnotations({ [name]: text })[setting]).toEqual(value);
});

const WRONG: readonly (readonly [string, string, RegExp])[] = [
  ["trine.dev/machine", "", /DNS label/],
  ["trine.dev/machine", "Web", /DNS label/],
  ["trine.dev/machine", "a".repeat(64), /DNS label/],
  [
    "trine.dev/disks",
    "data,tools",
    /is not a list; allowed: a YAML or JSON list of at most 16 disks/,
  ],
  ["trine.dev/disks", `[${"{},".repeat(17)}]`, /has 17 disks/],
  ["trine.dev/root", "volume", /"disk" or "none"/],
  ["trine.dev/disk-bus", "ide", /"virtio" or "scsi" or "sata"/],
  ["trine.dev/cpus", "0", /1 to 255/],
  ["trine.dev/cpus", "256", /1 to 255/],
  ["trine.dev/cpus", "1.5", /1 to 255/],
  ["trine.dev/cpus", "-1", /1 to 255/],
  ["trine.dev/cpus", "two", /"two".*1 to 255/],
  ["trine.dev/memory", "2gb", /"2gb".*16Mi to 16Ti/],
  ["trine.dev/memory", "1Mi", /16Mi to 16Ti/],
  ["trine.dev/memory", "17Ti", /16Mi to 16Ti/],
  ["trine.dev/memory", "-1Gi", /16Mi to 16Ti/],
  ["trine.dev/cpu-model", "host,+vmx", /CPU model/],
  ["trine.dev/cpu-model", "", /CPU model/],
  ["trine.dev/firmware", "UEFI", /"bios" or "uefi"/],
  ["trine.dev/console", "vga", /"serial" or "virtio"/],
  ["trine.dev/root-size", "big", /1Mi to 64Ti/],
  ["trine.dev/root-size", "0", /1Mi to 64Ti/],
  ["trine.dev/network-models", "{eth0: igb}", /has eth0 "igb": virtio, e1000e/],
  ["trine.dev/interfaces", "{eth0: {link: off}}", /has eth0 with "link" "off"/],
  ["trine.dev/network-mac", "03:00:00:00:00:01", /a MAC of one card/],
  ["trine.dev/network-binding", "route", /"tap" or "masquerade" or .*, or INTERFACE=BINDING/],
  ["trine.dev/network-binding", "net1=bridge", /names bridge, which tap is here/],
  ["trine.dev/network-binding", "slirp", /names slirp, which passt replaces/],
  ["trine.dev/network-binding", "sriov", /names sriov, which is no binding here/],
  ["trine.dev/network-multiqueue", "4", /"on" or "off"/],
  ["trine.dev/network-binding", "tap,masquerade", /has an interface twice/],
  ["trine.dev/network-binding", "a b=tap", /INTERFACE=BINDING/],
  ["trine.dev/imports", "a,,b", /names of containers/],
  ["trine.dev/imports", Array.from({ length: 17 }, (_, i) => `a${i}`).join(), /at most 16/],
  ["trine.dev/ports", "machine", /CONTAINER=PORT/],
  ["trine.dev/ports", "Web=80", /CONTAINER=PORT/],
  ["trine.dev/ports", "web=0", /CONTAINER=PORT/],
  ["trine.dev/ports", "web=65536", /CONTAINER=PORT/],
  ["trine.dev/ports", "web=80/sctp", /CONTAINER=PORT/],
  ["trine.dev/ports", "web=80,machine=80/tcp", /gives port 80\/tcp to web and to machine/],
  ["trine.dev/ports", "web=80", /needs trine.dev\/machine/],
  ["trine.dev/ports", Array.from({ length: 65 }, (_, i) => `a=${i + 1}`).join(), /has 65 ports/],
  ["trine.dev/start", "stopped", /"running" or "paused"/],
  ["trine.dev/guest-agent", "no", /"on" or "off"/],
  ["trine.dev/display", "vnc", /"on" or "off"/],
  ["trine.dev/kernel", "/boot/../vmlinuz", /an absolute path in the container/],
  ["trine.dev/initrd", "initrd", /an absolute path in the container/],
  ["trine.dev/kernel-args", "a".repeat(2048), /at most 2047 characters/],
  ["trine.dev/share-tags", "{a: /b, c: /b}", /twice/],
  ["trine.dev/share-tags", "{a: ../b}", /has a "..\/b".*the mountPath of a volume/],
  ["trine.dev/share-tags", `{${"a".repeat(37)}: /b}`, /has the name "a+/],
  ["trine.dev/shares", "nfs", /"virtiofs" or "9p" or "off"/],
  ["trine.dev/uuid", "4c4c4544", /a UUID/],
  ["trine.dev/hostname", "a_b", /a DNS name/],
  ["trine.dev/hostname", `${"a.".repeat(127)}a`, /a DNS name/],
  ["trine.dev/sshKeys", "ssh-ed25519 AAAA", /did you mean trine.dev\/ssh-keys\?/],
  ["trine.dev/memroy", "1Gi", /did you mean trine.dev\/memory\?/],
  ["trine.dev/a\nb", "1", /trine.dev\/a\\nb: "1" belongs to no known annotation/],
  ["trine.dev/__proto__", "1", /belongs to no known annotation/],
  ["trine.dev/", "1", /belongs to no known annotation/],
  // What a newer control plane has written, on a node that was not upgraded.
  ["trine.dev/of-tomorrow", "1", /of-tomorrow: "1" belongs to no known annotation of this release/],
];

test("ports belong to machine and containers by name and protocol", () => {
  const text = "machine=22, web=53/udp, dns=53";
  const { ports } = parseMachineAnnotations({
    "trine.dev/ports": text,
    "trine.dev/machine": "machine",
  });
  expect(ports).toEqual([
    { container: "machine", port: 22, protocol: "tcp" },
    { container: "web", port: 53, protocol: "udp" },
    { container: "dns", port: 53, protocol: "tcp" },
  ]);
});

test.each(WRONG)("refuses a wrong %s", (name, text, message) => {
  const lines = problemsOf({ [name]: text });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(message);
});

test("has a wrong value for every annotation", () => {
  const tried = new Set<string>([
    ...WRONG.map(([name]) => name),
    // Those in tests of their own.
    ...[...FIRST_BOOT_ANNOTATIONS, ...HARDWARE_ANNOTATIONS].map((a) => a.key),
  ]);
  expect(MACHINE_ANNOTATIONS.filter((a) => !tried.has(a.key)).map((a) => a.key)).toEqual([]);
});

test("tells all problems at once, in one error of kind invalid", () => {
  const wrong = { "trine.dev/cpus": "0", "trine.dev/firmware": "efi", VirtletVolumes: "[]" };
  expect(problemsOf(wrong)).toHaveLength(3);
  expect(() => parseMachineAnnotations(wrong)).toThrow(
    expect.objectContaining({ kind: "invalid" }) as Error,
  );
});

test("a microvm takes its own annotations, and no machine's", () => {
  expect(parseMicrovmAnnotations({})).toEqual({ cpus: undefined, memoryBytes: undefined });
  const examples = Object.fromEntries(MICROVM_ANNOTATIONS.map((a) => [a.key, a.example]));
  expect(parseMicrovmAnnotations(examples)).toEqual({ cpus: 2, memoryBytes: 2 ** 30 });
  const wrong = {
    "trine.dev/memory": "16Mi",
    "trine.dev/firmware": "uefi",
    VirtletVCPUCount: "2",
    "trine.dev/cpu": "1",
  };
  expect(() => parseMicrovmAnnotations(wrong)).toThrow(
    /memory: "16Mi".*96Mi[^]*firmware: "uefi" is for pods of level vm only[^]*VirtletVCPUCount[^]*level vm only[^]*did you mean trine.dev\/cpus/,
  );
});

test("ignores foreign annotations", () => {
  const foreign = { "kubernetes.io/target-runtime": "x", "my.trine.dev/cpus": "0", other: "" };
  expect(checkMachineAnnotations(foreign).problems).toEqual([]);
});

test("takes an alias beside its twin only when both say the same", () => {
  const name = "trine.dev/root-size";
  expect(problemsOf({ VirtletRootVolumeSize: "1Gi", [name]: "2Gi" })).toEqual([
    `annotation VirtletRootVolumeSize: "1073741824" says something else than ${name}: keep one`,
  ]);
  expect(parseMachineAnnotations({ VirtletRootVolumeSize: "1024Mi", [name]: "1Gi" })).toMatchObject(
    { rootSizeBytes: 2 ** 30 },
  );
});

test("refuses two sizes of one root disk", () => {
  const disks = "- {name: root, size: 2Gi}";
  const [line] = problemsOf({ "trine.dev/root-size": "1Gi", "trine.dev/disks": disks });
  expect(line).toMatch(/another size of the root than trine\.dev\/root-size/);
  const same = { "trine.dev/root-size": "2Gi", "trine.dev/disks": disks };
  expect(checkMachineAnnotations(same).problems).toEqual([]);
});

test("no root has no size, and is described nowhere", () => {
  for (const said of [
    { "trine.dev/root-size": "1Gi" },
    { "trine.dev/disks": "- {name: root, file: /a}" },
  ]) {
    const [line] = problemsOf({ ...said, "trine.dev/root": "none" });
    expect(line).toMatch(/trine\.dev\/root: "none" and something else says what the root is/);
  }
});

test("shortens and escapes what it repeats", () => {
  const [line = ""] = problemsOf({ "trine.dev/cpus": ` ${"\n\u001b[2J\u0000".repeat(99)}` });
  expect(line).not.toMatch(/[\u0000-\u001f]/); // eslint-disable-line no-control-regex
  expect(line.length).toBeLessThan(180);
});

test("reads nothing of a pod with more annotations than Kubernetes allows", () => {
  const much = { "trine.dev/user-data": "#".repeat(300 * 1024), "trine.dev/cpus": "x" };
  expect(problemsOf(much)).toEqual([
    expect.stringMatching(/trine.dev\/\*: \(\d+ bytes\) too much; allowed: at most 262144 bytes/),
  ]);
  expect(checkMachineAnnotations({ "trine.dev/cpus": "2" }, { maxBytes: 8 }).problems).toHaveLength(
    1,
  );
});

test("lists at most twenty problems", () => {
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`trine.dev/q${i}`, ""]));
  expect(problemsOf(many).slice(19)).toEqual([expect.any(String), "and 10 more"]);
});
