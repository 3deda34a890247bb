import { describe, expect, test } from "vitest";
import { FIRST_BOOT_ANNOTATIONS } from "./first-boot-annotations.ts";
import { checkMachineAnnotations, parseMachineAnnotations, toError } from "./parse-annotations.ts";

const ED25519 = key("ssh-ed25519", 32);
const FROM = { "trine.dev/user-data-from": "/seed" };

/** A key of the right form around nothing. */
function key(type: string, length: number, claimed = type): string {
  const name = Buffer.from(claimed, "latin1");
  const parts = [Buffer.alloc(4), name, Buffer.alloc(4), Buffer.alloc(length, 7)];
  parts[0]?.writeUInt32BE(name.length);
  parts[2]?.writeUInt32BE(length);
  return `${type} ${Buffer.concat(parts).toString("base64")}`;
}

function bomb(): string {
  const levels = Array.from(
    { length: 12 },
    (_, i) => `l${i + 1}: &l${i + 1} [${Array(8).fill(`*l${i}`).join(", ")}]`,
  );
  return ["l0: &l0 [x]", ...levels].join("\n");
}

function linesOf(annotations: Record<string, string>): string[] {
  return toError(checkMachineAnnotations(annotations).problems).message.split("\n");
}

test.each([
  ["cloud-init", "configdrive", "cloudInit", "configdrive"],
  ["user-data", "#!/bin/sh\necho  \n", "userData", "#!/bin/sh\necho  \n"],
  ["user-data-from", " /etc/seed/ ", "userDataFrom", { path: "/etc/seed" }],
  [
    "user-data-from",
    "ConfigMap/a.b",
    "userDataFrom",
    { path: "/trine.dev/configmap/a.b", named: { kind: "configmap", name: "a.b" } },
  ],
  [
    "ssh-keys-from",
    "secret/a/KEY_1.x",
    "sshKeysFrom",
    [{ path: "/trine.dev/secret/a/KEY_1.x", named: { kind: "secret", name: "a" } }],
  ],
  [
    "ssh-keys-from",
    "/keys, secret/a",
    "sshKeysFrom",
    [{ path: "/keys" }, { path: "/trine.dev/secret/a", named: { kind: "secret", name: "a" } }],
  ],
  [
    "user-keys-from",
    "root=secret/a, D\\web.1=/keys",
    "userKeysFrom",
    [
      {
        user: "root",
        from: { path: "/trine.dev/secret/a", named: { kind: "secret", name: "a" } },
      },
      { user: "D\\web.1", from: { path: "/keys" } },
    ],
  ],
  ["user-data-merge", "replace", "userDataMerge", "replace"],
  ["meta-data", '{"a": [1]}', "metaData", { a: [1] }],
  ["ssh-keys", `# mine\n\n${ED25519} me@home\r\n`, "sshKeys", [`${ED25519} me@home`]],
  ["network-config", "v1", "networkConfig", "v1"],
  ["network-data", "version: 1\nconfig: []\n", "networkData", { version: 1, config: [] }],
  [
    "ignition",
    ' {"ignition":{"version":"3.4.0"}}\n',
    "ignition",
    ' {"ignition":{"version":"3.4.0"}}\n',
  ],
  ["user-data", '{"ignition":{"version":"3.2.0"}}', "userData", '{"ignition":{"version":"3.2.0"}}'],
  ["sysprep-from", "/answers", "sysprepFrom", { path: "/answers" }],
] as const)("reads trine.dev/%s: %j", (name, text, setting, value) => {
  expect(parseMachineAnnotations({ [`trine.dev/${name}`]: text })[setting]).toEqual(value);
});

const SOURCE =
  "/PATH on a volume of the machine's container, configmap/NAME[/KEY] or secret/NAME[/KEY]";

describe("refuses, with the key, the value and what is allowed:", () => {
  test.each([
    ["cloud-init", "openstack", `"openstack" is not allowed; allowed: "nocloud" or "configdrive"`],
    ["user-data", "packages: [a]", "(13 bytes) is not allowed; allowed: text that starts with #cl"],
    ["user-data", "", "(0 bytes) is not allowed; allowed: text that starts with #cloud-config"],
    ["user-data", `#${"a".repeat(131072)}`, "(131073 bytes) has 131073 bytes; allowed: text"],
    ["user-data-from", "seed", `"seed" is not allowed; allowed: ${SOURCE}`],
    ["user-data-from", "configmap/", `"configmap/" is not allowed; allowed: ${SOURCE}`],
    ["user-data-from", "configmap/Web", `"configmap/Web" is not allowed; allowed: ${SOURCE}`],
    ["user-data-from", "/", `"/" is not allowed; allowed: ${SOURCE}`],
    ["user-data-from", "/a/../../etc/shadow", `"/a/../../etc/shadow" is not allowed`],
    ["user-data-from", `/${"a".repeat(4095)}`, `is not allowed; allowed: ${SOURCE}`],
    ["user-data-key", "..", `".." is not allowed; allowed: a key of a ConfigMap or Secret`],
    ["user-data-key", "a/b", `"a/b" is not allowed; allowed: a key of a ConfigMap or Secret`],
    ["user-data-encoding", "gzip", `"gzip" is not allowed; allowed: "plain" or "base64"`],
    ["user-data-merge", "append", `"append" is not allowed; allowed: "merge" or "replace"`],
    ["meta-data", "- a", "(3 bytes) is not a mapping; allowed: a YAML or JSON mapping, at most 13"],
    ["meta-data", "a: [", "(4 bytes) is not YAML: "],
    ["meta-data", "text", "(4 bytes) is not a mapping"],
    ["meta-data", "", "(0 bytes) is not a mapping"],
    ["meta-data", `a: ${"b".repeat(131072)}`, "has 131075 bytes; allowed: a YAML or JSON mapping"],
    ["meta-data", bomb(), "has too many YAML aliases"],
    ["ssh-keys", "hello", `"hello" line 1: does not start with a key type (ssh-ed25519, `],
    ["ssh-keys", `${ED25519}\nssh-dss AAAA`, "line 2: does not start with a key type"],
    ["ssh-keys", "ssh-ed25519", "line 1: the key is not base64"],
    ["ssh-keys", "ssh-ed25519 AAAA me", "line 1: the key is cut short or of another type"],
    ["ssh-keys", key("ssh-ed25519", 32, "ssh-ed25510"), "line 1: the key is of another type"],
    ["ssh-keys", `${ED25519} a\u0007b`, "line 1: holds a control character"],
    ["ssh-keys", `${ED25519}\n`.repeat(65), "has more than 64 keys"],
    ["ssh-keys", `${ED25519} ${"a".repeat(16384)}`, "line 1: longer than 16384"],
    ["user-keys-from", "secret/a", `"secret/a" is not allowed; allowed: USER=/PATH, USER=`],
    ["user-keys-from", "=/a", `"=/a" is not allowed`],
    ["user-keys-from", "a:b=/a", `"a:b=/a" is not allowed`],
    ["user-keys-from", "a=/b=/c,", `is not allowed`],
    ["passwords-from", "a=/b", `"a=/b" is not allowed; allowed: ${SOURCE}`],
    ["ssh-keys-from", "secret/a/b/c", `"secret/a/b/c" is not allowed; allowed: ${SOURCE}`],
    ["ssh-keys-from", "secret/a/..", `"secret/a/.." is not allowed; allowed: ${SOURCE}`],
    ["files-from", "pvc/a", `"pvc/a" is not allowed; allowed: ${SOURCE}`],
    ["network-config", "true", `"true" is not allowed; allowed: "on" or "v1" or "v2" or "off"`],
    ["network-data", "[]", `"[]" is not a mapping; allowed: a YAML or JSON mapping`],
    ["network-data-from", "./a", `"./a" is not allowed; allowed: ${SOURCE}`],
    ["ignition", "{", `(1 bytes) is not JSON; allowed: an Ignition config in JSON`],
    ["ignition", "null", `(4 bytes) has no ignition.version such as 3.4.0; allowed: an Ignition`],
    ["ignition", '{"ignition":{"version":3}}', "(26 bytes) has no ignition.version such as 3.4.0"],
    ["ignition", `"${"a".repeat(131072)}"`, "has 131074 bytes; allowed: an Ignition config"],
    ["ignition-from", "", `"" is not allowed; allowed: ${SOURCE}`],
    ["sysprep-from", "secret", `"secret" is not allowed; allowed: ${SOURCE}`],
  ])("trine.dev/%s: %j", (name, text, says) => {
    const lines = linesOf({ [`trine.dev/${name}`]: text }).filter(
      (line) => !line.includes("which is not there"),
    );
    expect(lines).toEqual([expect.stringContaining(says)]);
    expect(lines[0]).toMatch(new RegExp(`^annotation trine.dev/${name}: `));
  });
});

describe("refuses what makes no sense beside another:", () => {
  test.each([
    [
      { "trine.dev/user-data-key": "a" },
      `annotation trine.dev/user-data-key: "a" says how to read trine.dev/user-data-from, which is not there`,
    ],
    [
      { "trine.dev/user-data-encoding": "base64" },
      `annotation trine.dev/user-data-encoding: "base64" says how to read trine.dev/user-data-from, which is not there`,
    ],
    [
      { "trine.dev/cloud-init": "off", "trine.dev/ssh-keys": ED25519 },
      "annotation trine.dev/ssh-keys: (1 keys) reaches no guest where trine.dev/cloud-init is off: remove one",
    ],
    [
      { "trine.dev/cloud-init": "off", ...FROM },
      "annotation trine.dev/user-data-from: (given) reaches no guest where trine.dev/cloud-init is off: remove one",
    ],
    [
      { "trine.dev/guest-agent": "off", "trine.dev/passwords-from": "secret/a" },
      "annotation trine.dev/passwords-from: (given) reaches no guest where trine.dev/guest-agent is off: remove one",
    ],
    [
      { "trine.dev/cloud-init": "configdrive", "trine.dev/network-config": "v1" },
      `annotation trine.dev/network-config: "v1" is of NoCloud, and trine.dev/cloud-init says configdrive`,
    ],
    [
      { "trine.dev/network-data": "version: 2", "trine.dev/network-data-from": "/a" },
      "annotation trine.dev/network-data: (given) is given by trine.dev/network-data-from as well: keep one",
    ],
    [
      { "trine.dev/ignition": '{"ignition":{"version":"3.0.0"}}', "trine.dev/ignition-from": "/a" },
      "annotation trine.dev/ignition: (given) is given by trine.dev/ignition-from as well: keep one",
    ],
  ] as const)("%j", (annotations, line) => {
    expect(linesOf(annotations)).toEqual([line]);
  });
});

test("no text of a seed comes back in a message", () => {
  const secret = "#cloud-config\npassword: [hunter2";
  const all: Record<string, string> = { "trine.dev/cloud-init": "off" };
  for (const spec of FIRST_BOOT_ANNOTATIONS) if ("secret" in spec) all[spec.key] = secret;
  const lines = linesOf(all);
  expect(lines.join("\n")).not.toContain("hunter2");
  expect(lines.length).toBeGreaterThan(2);
});
