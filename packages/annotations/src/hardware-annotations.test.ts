import { expect, test } from "vitest";
import { HARDWARE_ANNOTATIONS } from "./hardware-annotations.ts";
import { hypervFeatures } from "./hyperv-needs.ts";
import { checkMachineAnnotations, parseMachineAnnotations } from "./parse-annotations.ts";

function said(annotations: Record<string, string>): string {
  const named = Object.entries(annotations).map(([key, text]) => [`trine.dev/${key}`, text]);
  try {
    parseMachineAnnotations(Object.fromEntries(named) as Record<string, string>);
    return "";
  } catch (cause) {
    return cause instanceof Error ? cause.message : "";
  }
}

const WRONG: readonly (readonly [name: string, text: string, says: RegExp])[] = [
  ["cpu-topology", "2", /is not a mapping; allowed: .*any of sockets, cores, threads$/],
  ["cpu-topology", "{dies: 2}", /has "dies": sockets, cores, threads are its fields/],
  ["cpu-topology", "{threads: 3}", /has threads 3: a whole number from 1 to 2/],
  ["cpu-topology", "{sockets: 0}", /has sockets 0: a whole number from 1 to 255/],
  ["cpu-topology", "{cores: 1.5}", /has cores 1.5: a whole number/],
  ["cpu-topology", "{cores: {a: 1}}", /has cores {"a":1}: a whole number/],
  ["cpu-topology", "{sockets: 16, cores: 16}", /comes to 256 CPUs: at most 255/],
  ["max-cpus", "256", /1 to 255/],
  ["max-memory", "1Mi", /32Mi to 16Ti/],
  ["cpu-features", "[vmx]", /is not a mapping/],
  ["cpu-features", "{vmx: on}", /has vmx "on": force, require, optional, disable, forbid/],
  ["cpu-features", "{'vmx,+x': force}", /has "vmx,\+x", which is none of CPU features/],
  ["cpu-features", features(129), /has 129 CPU features/],
  ["machine-type", "pc-i440fx-7.2", /"q35", or one of its versions/],
  ["machine-type", "q35,accel=kvm", /"q35", or one of its versions/],
  ["smbios", "{asset: a}", /has "asset": manufacturer, product/],
  ["smbios", '{serial: "a\\nb"}', /has serial "a\\nb": 1 to 64 printable/],
  ["smbios", `{serial: ${"a".repeat(65)}}`, /1 to 64 printable ASCII/],
  ["chassis", "{product: a}", /has "product": manufacturer, version, serial, asset, sku/],
  ["firmware-serial", "yes", /"on" or "off"/],
  ["secure-boot", "true", /"on" or "off"/],
  ["firmware-persistent", "/state", /"on" or "off"/],
  ["tpm", "1.2", /"off" or "on" or "persistent"/],
  ["state", "state", /an absolute path in the container/],
  ["state", "/vol/../etc", /an absolute path in the container/],
  ["state", "/", /an absolute path in the container/],
  ["hyperv", "{spinlocks: 1}", /has spinlocks 1: a whole number from 4096/],
  ["hyperv", "{vendorid: 'a name too long'}", /has vendorid "a name too long": 1 to 12/],
  ["hyperv", "{relax: on}", /has "relax": relaxed, vapic/],
  ["hyperv", "{synic: on, vpindex: off}", /needs vpindex, which is off/],
  ["clock", "{timezone: '../etc'}", /has timezone "..\/etc": a name of the time zone database/],
  ["clock", "{timezone: Europe/Nowhere}", /"Europe\/Nowhere" is no time zone that this node knows/],
  ["clock", "{offset: 999999999}", /has offset 999999999: a whole number from -157680000/],
  ["clock", "{rtc: merge}", /has rtc "merge": "catchup" or "delay"/],
  ["clock", "{hpet: maybe}", /has hpet "maybe": "on" or "off"/],
  ["watchdog", "inject-nmi", /"reset" or "poweroff"/],
  ["tablet", "ps2", /"virtio" or "usb" or "off"/],
  ["video", "qxl", /"vga" or "virtio" or "bochs" or "ramfb"/],
  ["usb", "3", /"on" or "off"/],
  ["usb-redirections", "5", /0 to 4/],
  ["usb-redirections", "-1", /0 to 4/],
  ["sound", "sb16", /"off" or "ich9" or "ac97"/],
  ["panic", "pseries", /"isa" or "pci" or "hyperv" or "off"/],
  ["vsock", "3", /"on" or "off"/],
  ["vsock-cid", "2", /3 to 4294967294/],
  ["vsock-cid", "99999999999", /3 to 4294967294/],
  ["balloon", "none", /"on" or "off"/],
  ["hugepages", "4Ki", /"2Mi" or "1Gi"/],
  ["on-reboot", "Terminate", /"restart" or "end"/],
  ["platform", "{apic: off}", /has "apic": acpi, smm, hidden/],
  ["platform", "{acpi: no-such}", /has acpi "no-such": "on" or "off"/],
  ["virtio-transitional", "0.9", /"on" or "off"/],
  ["keyboard", "ps2", /"virtio" or "usb" or "off"/],
  ["clock", "{track: boot}", /has track "boot": "guest" or "wall"/],
  ["io-threads", "0", /1 to 16/],
  ["io-threads", "4294967295", /1 to 16/],
  ["disk-multiqueue", "2", /"on" or "off"/],
  ["cpu-pinning", "on", /"off" or "cpus" or "isolated"/],
];

function features(count: number): string {
  return JSON.stringify(
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, "force"])),
  );
}

test.each(WRONG)("refuses trine.dev/%s: %s", (name, text, says) => {
  const lines = said({ [name]: text }).split("\n");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(new RegExp(`^annotation trine.dev/${name}: `));
  expect(lines[0]).toMatch(says);
});

test("has a wrong value for every annotation", () => {
  const tried = new Set(WRONG.map(([name]) => `trine.dev/${name}`));
  expect(HARDWARE_ANNOTATIONS.map(({ key }) => key).filter((key) => !tried.has(key))).toEqual([]);
});

test.each<[Record<string, string>, RegExp]>([
  [{ "cpu-topology": "{cores: 2}", cpus: "3" }, /comes to 2 CPUs, and trine.dev\/cpus says 3$/],
  [{ cpus: "4", "max-cpus": "2" }, /max-cpus: "2" is less than the 4/],
  [{ "cpu-topology": "{cores: 2}", "max-cpus": "3" }, /no whole number of sockets of 2 CPUs/],
  [{ "max-cpus": "2", "cpu-pinning": "cpus" }, /gives no CPU to what trine.dev\/max-cpus adds/],
  [{ memory: "2Gi", "max-memory": "1Gi" }, /is less than trine.dev\/memory/],
  [{ hugepages: "2Mi", "max-memory": "1Gi" }, /is not for a guest in trine.dev\/hugepages/],
  [{ "secure-boot": "on" }, /needs trine.dev\/firmware: uefi/],
  [{ "firmware-serial": "on", firmware: "uefi" }, /is of the BIOS/],
  [{ "firmware-serial": "on", console: "virtio" }, /needs trine.dev\/console: serial/],
  [{ "firmware-persistent": "on", firmware: "uefi" }, /needs trine.dev\/state/],
  [
    { "secure-boot": "on", firmware: "uefi", platform: "{smm: off}" },
    /needs trine.dev\/platform not to say smm: off/,
  ],
  [{ clock: "{pit: delay, pitPresent: off}" }, /is of a timer that pitPresent: off leaves out/],
  [{ tpm: "persistent" }, /needs trine.dev\/state/],
  [{ tpm: "on", state: "/state" }, /has nothing to keep/],
  [{ video: "virtio" }, /needs trine.dev\/display: on/],
  [{ "vsock-cid": "7" }, /needs trine.dev\/vsock: on/],
  [{ hyperv: "{synictimer: on}", clock: "{hypervclock: off}" }, /needs hypervclock, which is off/],
])("refuses %j together", (annotations, says) => {
  expect(said(annotations)).toMatch(says);
});

test("reads all that a domain may say", () => {
  const { settings, problems } = checkMachineAnnotations({
    "trine.dev/cpu-topology": '{"sockets": 2, "cores": 4, "threads": 2}',
    "trine.dev/max-cpus": "32",
    "trine.dev/cpu-features": "{vmx: require, hle: disable}",
    "trine.dev/smbios": '{manufacturer: "Example, Inc.", serial: 42}',
    "trine.dev/hyperv": "{relaxed: true, spinlocks: 8191, vendorid: Trine, evmcs: on}",
    "trine.dev/clock": "{offset: -3600, hpet: no-such}",
  });
  expect(problems).toHaveLength(1);
  expect(settings).toMatchObject({
    topology: { sockets: 2, cores: 4, threads: 2 },
    cpus: undefined,
    maxCpus: 32,
    cpuFeatures: { vmx: "require", hle: "disable" },
    smbios: { manufacturer: "Example, Inc.", serial: "42" },
    hyperv: { relaxed: true, spinlocks: 8191, vendorid: "Trine", evmcs: true },
  });
  expect(hypervFeatures(settings.hyperv ?? {})).toEqual(["relaxed", "evmcs", "vapic"]);
});
