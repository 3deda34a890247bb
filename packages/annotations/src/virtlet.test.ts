import { describe, expect, test } from "vitest";
import { checkMachineAnnotations, parseMachineAnnotations, toError } from "./parse-annotations.ts";
import { parseMicrovmAnnotations } from "./parse-annotations.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const UUID = "4C4C4544-0043-3510-8052-B4C04F4E3432";
const BY_NAME = { path: "/trine.dev/configmap/web", named: { kind: "configmap", name: "web" } };
const SOURCE =
  "/PATH on a volume of the machine's container, configmap/NAME[/KEY] or secret/NAME[/KEY]";
const CPU = [
  "mode: custom",
  "Model: {Value: Westmere, fallback: forbid}",
  "topology: {sockets: 1, cores: 2, threads: 1}",
  "features:",
  "- {name: avx, policy: disable}",
  "- name: vmx",
].join("\n");

/** What Virtlet's guests have without an annotation of its own, where the settings' own default says nothing else. */
const SOURCED = { VirtletCloudInitUserDataSource: "configmap/web" };

function settingsOf(annotations: Readonly<Record<string, string>>): object {
  return parseMachineAnnotations(annotations);
}

describe("each of Virtlet's annotations says what one of ours says:", () => {
  test.each<[string, string, object]>([
    ["VirtletVCPUCount", "4", { cpus: 4 }],
    ["VirtletCPUModel", "host-model", { cpuModel: "host-model" }],
    ["VirtletCPUModel", "", { cpuModel: undefined }],
    [
      "VirtletLibvirtCPUSetting",
      CPU,
      {
        cpuModel: "Westmere",
        cpuFeatures: { avx: "disable", vmx: "require" },
        topology: { sockets: 1, cores: 2, threads: 1 },
      },
    ],
    ["VirtletLibvirtCPUSetting", "mode: host-passthrough", { cpuModel: "host-passthrough" }],
    ["VirtletDiskDriver", "scsi", { diskBus: "scsi" }],
    ["VirtletRootVolumeSize", "4Gi", { rootSizeBytes: 2 ** 32 }],
    ["VirtletSystemUUID", UUID, { uuid: UUID.toLowerCase() }],
    ["VirtletChown9pfsMounts", "true", { shares: "virtiofs" }],
    ["VirtletForceDHCPNetworkConfig", "true", { networkConfig: "off" }],
    ["VirtletForceDHCPNetworkConfig", "false", { networkConfig: "on" }],
    ["VirtletCloudInitImageType", "ConfigDrive", { cloudInit: "configdrive" }],
    ["VirtletCloudInitMetaData", "a: b", { metaData: { a: "b" } }],
    ["VirtletCloudInitUserData", "packages: [a]", { userData: "#cloud-config\npackages: [a]" }],
    ["VirtletCloudInitUserDataOverwrite", "true", { userDataMerge: "replace" }],
    ["VirtletCloudInitUserDataScript", "#!/bin/sh\n", { userData: "#!/bin/sh\n" }],
    [
      "VirtletCloudInitUserDataScript",
      "#!/bin/sh\n@virtlet-mount-script@\n",
      { userData: "#!/bin/sh\n:\n" },
    ],
    ["VirtletCloudInitUserDataSource", "configmap/web", { userDataFrom: BY_NAME }],
    ["VirtletCloudInitUserDataSourceKey", "script", { userDataKey: "script" }],
    ["VirtletCloudInitUserDataSourceEncoding", "base64", { userDataEncoding: "base64" }],
    ["VirtletSSHKeys", `${KEY}\n`, { sshKeys: [KEY] }],
    [
      "VirtletSSHKeySource",
      "configmap/web/key",
      { sshKeysFrom: [{ ...BY_NAME, path: "/trine.dev/configmap/web/key" }] },
    ],
    ["VirtletFilesFromDataSource", "configmap/web", { filesFrom: BY_NAME }],
  ])("%s: %j", (name, text, expected) => {
    expect(settingsOf({ ...SOURCED, [name]: text })).toMatchObject(expected);
  });
});

describe("each refuses a wrong value with its name, the value and what is allowed:", () => {
  test.each([
    ["VirtletVCPUCount", "0", `"0" is not allowed; allowed: a whole number from 1 to 255`],
    ["VirtletCPUModel", "max", `"max" is not allowed; allowed: "host-model" or nothing`],
    ["VirtletLibvirtCPUSetting", "- a", `"- a" is not a mapping; ${libvirt()}`],
    ["VirtletLibvirtCPUSetting", "a: [", `"a: [" is not YAML: BAD_INDENT at 4; ${libvirt()}`],
    ["VirtletLibvirtCPUSetting", "mode: maximum", `has mode "maximum": "custom", "host-model" or`],
    ["VirtletLibvirtCPUSetting", "mode: custom", "has model that is not a mapping"],
    ["VirtletLibvirtCPUSetting", "model: {}", "has mode custom and no model with a value"],
    [
      "VirtletLibvirtCPUSetting",
      "model: {value: a b}",
      "is not allowed; allowed: host-passthrough",
    ],
    ["VirtletLibvirtCPUSetting", "mode: host-model\nmodel: {}", "has mode host-model and a model"],
    ["VirtletLibvirtCPUSetting", "numa: {}", `has "numa", which is none of ours`],
    ["VirtletLibvirtCPUSetting", "match: strict", `has match "strict": only "exact"`],
    ["VirtletLibvirtCPUSetting", "model: {value: a, fallback: allow}", `has fallback "allow"`],
    ["VirtletLibvirtCPUSetting", "{mode: host-model, features: {}}", "features that are no list"],
    ["VirtletLibvirtCPUSetting", "{mode: host-model, features: [{}]}", "something else than name"],
    ["VirtletLibvirtCPUSetting", "{a: &a b, c: *a}", "has YAML aliases"],
    ["VirtletDiskDriver", "sata", `"sata" is not allowed; allowed: "scsi" or "virtio"`],
    ["VirtletRootVolumeSize", "big", `"big" is not allowed; allowed: a quantity from 1Mi to 64Ti`],
    ["VirtletSystemUUID", "1", `"1" is not allowed; allowed: a UUID`],
    ["VirtletChown9pfsMounts", "yes", `"yes" is not allowed; allowed: "true" or "false"`],
    ["VirtletForceDHCPNetworkConfig", "on", `"on" is not allowed; allowed: "true" or "false"`],
    ["VirtletCloudInitImageType", "iso", `"iso" is not allowed; allowed: "nocloud" or "configdr`],
    ["VirtletCloudInitMetaData", "- a", "(3 bytes) is not a mapping; allowed: a YAML or JSON map"],
    ["VirtletCloudInitUserData", "a".repeat(131_072), "(131072 bytes) has 131086 bytes; allowed"],
    ["VirtletCloudInitUserDataOverwrite", "1", `"1" is not allowed; allowed: "true" or "false"`],
    [
      "VirtletCloudInitUserDataScript",
      "echo",
      "(4 bytes) is not allowed; allowed: text that starts",
    ],
    ["VirtletCloudInitUserDataSource", "web", `"web" is not allowed; allowed: ${SOURCE}`],
    [
      "VirtletCloudInitUserDataSourceKey",
      "a/b",
      `"a/b" is not allowed; allowed: a key of a Config`,
    ],
    ["VirtletCloudInitUserDataSourceEncoding", "gz", `"gz" is not allowed; allowed: "plain" or`],
    ["VirtletSSHKeys", "ssh-dss A", `"ssh-dss A" line 1: does not start with a key type`],
    ["VirtletSSHKeySource", "pod/web", `"pod/web" is not allowed; allowed: ${SOURCE}`],
    ["VirtletFilesFromDataSource", "configmap", `"configmap" is not allowed; allowed: ${SOURCE}`],
  ])("%s: %.40s", (name, text, says) => {
    const { problems } = checkMachineAnnotations({ ...SOURCED, [name]: text });
    const [line] = toError(problems).message.split("\n");
    expect(problems).toHaveLength(1);
    expect(line).toContain(says);
    expect(line).toMatch(new RegExp(`^annotation ${name}: `));
  });
});

function libvirt(): string {
  return "allowed: libvirt's <cpu> in YAML: mode, match: exact, model, features, topology";
}

describe("what Virtlet gave up or never had is refused by name:", () => {
  test.each([
    ["VirtletConfigMapAsFiles", "use trine.dev/files-from"],
    ["VirtletVolumes", "use trine.dev/disks"],
    ["VirtletVMIdentitySet", "a root disk on a PersistentVolumeClaim"],
    ["VirtletVMIdentityName", "a root disk on a PersistentVolumeClaim"],
    ["VirtletKeepVMEnvVars", "/etc/cloud/environment"],
  ])("%s", (name, advice) => {
    const { problems } = checkMachineAnnotations({ [name]: "secret" });
    expect(problems).toHaveLength(1);
    const { message } = toError(problems);
    expect(message).toMatch(new RegExp(`^annotation ${name}: \\(6 bytes\\) is not supported: `));
    expect(message).toContain(advice);
  });
});

test("a name nearly one of theirs is told which", () => {
  const { message } = toError(checkMachineAnnotations({ VirtletVCpuCount: "1" }).problems);
  expect(message).toContain("did you mean VirtletVCPUCount?");
  const cpu = toError(checkMachineAnnotations({ VirtletLibvirtCpuSettings: "1" }).problems);
  expect(cpu.message).toContain("did you mean VirtletLibvirtCPUSetting?");
});

test("two that say different things are refused, as is one that says something else than ours", () => {
  const lines = (of: Record<string, string>) =>
    toError(checkMachineAnnotations(of).problems).message.split("\n");
  const both = { VirtletCloudInitUserData: "a: b", VirtletCloudInitUserDataScript: "#!/bin/sh\n" };
  expect(lines(both)[0]).toContain("says something else than VirtletCloudInitUserDataScript");
  const model = { VirtletLibvirtCPUSetting: "mode: host-passthrough" };
  expect(lines({ ...model, "trine.dev/cpu-model": "host-model" })).toEqual([
    `annotation VirtletLibvirtCPUSetting: "host-passthrough" says something else than trine.dev/cpu-model: keep one`,
  ]);
});

test("none of them is for a microvm", () => {
  for (const name of ["VirtletVCPUCount", "VirtletLibvirtCPUSetting", "VirtletChown9pfsMounts"]) {
    expect(() => parseMicrovmAnnotations({ [name]: "true" })).toThrow(/for pods of level vm only/);
  }
});
