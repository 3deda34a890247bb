import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseMachineAnnotations } from "@trine/annotations";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../json-shape.ts";
import { answersOf, firstBoot, ignitionOf } from "./first-boot.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
let dir: string;
let mounts: object[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-first-boot-"));
  mounts = [];
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** Mounts a volume with these files in the container, written as kubelet writes them. */
async function volume(at: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
  const source = join(dir, String(mounts.length));
  await mkdir(join(source, "..2027"), { recursive: true });
  await symlink("..2027", join(source, "..data"));
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(source, "..2027", name), text);
    await symlink(`..data/${name}`, join(source, name));
  }
  mounts.push({ destination: at, type: "bind", source, options: ["rbind", "ro"] });
}

const settings = (of: Readonly<Record<string, string>>) =>
  parseMachineAnnotations(
    Object.fromEntries(
      Object.entries(of).map(([key, value]) => {
        return [key.startsWith("Virtlet") ? key : `trine.dev/${key}`, value];
      }),
    ),
  );
const spec = (): JsonObject => ({ mounts });
const told = (of: Readonly<Record<string, string>>) => firstBoot(settings(of), spec());
const userData = async (of: Readonly<Record<string, string>>) => (await told(of)).userData;

/** What the generated cloud-config says: JSON after its header. */
function configIn(text: string | undefined): unknown {
  return JSON.parse((text ?? "").replace(/^#cloud-config\n/, ""));
}

describe("user-data", () => {
  test("from a file is as it was written", async () => {
    const script = "#!/bin/sh\necho  hello \n";
    await volume("/seed", { "user-data": script, other: "x" });
    expect(await userData({ "user-data-from": "/seed/user-data" })).toBe(script);
    expect(await userData({ "user-data-from": "/seed", "user-data-key": "user-data" })).toBe(
      script,
    );
  });

  test("from a ConfigMap by name: each key is a key of the cloud-config", async () => {
    await volume("/trine.dev/configmap/web", { users: "- name: a", timezone: "UTC" });
    const text = await userData({ VirtletCloudInitUserDataSource: "configmap/web" });
    expect(text).toMatch(/^#cloud-config\n/);
    expect(configIn(text)).toEqual({ users: [{ name: "a" }], timezone: "UTC" });
  });

  test("merged from two sources", async () => {
    await volume("/trine.dev/secret/web", { users: "- name: a", timezone: "UTC" });
    const text = await userData({
      VirtletCloudInitUserDataSource: "secret/web",
      VirtletCloudInitUserData: "users: [{name: b}]\ntimezone: CET\n",
    });
    expect(configIn(text)).toEqual({ users: [{ name: "a" }, { name: "b" }], timezone: "CET" });
  });

  test("of the annotation takes the place of the source's when told so", async () => {
    await volume("/trine.dev/secret/web", { users: "- name: a" });
    const given = { VirtletCloudInitUserDataSource: "secret/web", "user-data": "#!/bin/sh\n" };
    expect(await userData({ ...given, VirtletCloudInitUserDataOverwrite: "true" })).toBe(
      "#!/bin/sh\n",
    );
    await expect(userData(given)).rejects.toThrow(/user-data-from: only cloud-config is merged/);
  });

  test("in base64", async () => {
    await volume("/trine.dev/configmap/web", { script: "IyEvYmluL3NoCmVj\naG8gaGkK\n" });
    const given = {
      VirtletCloudInitUserDataSource: "configmap/web",
      VirtletCloudInitUserDataSourceKey: "script",
    };
    const encoding = { VirtletCloudInitUserDataSourceEncoding: "base64" };
    expect(await userData({ ...given, ...encoding })).toBe("#!/bin/sh\necho hi\n");
  });

  test.each<[string, Record<string, string>, Record<string, string | Buffer>, RegExp]>([
    ["a key that is not there", { "user-data-key": "b" }, { a: "" }, /there is no b: it has a/],
    [
      "a file as a directory",
      { "user-data-from": "/s/a", "user-data-key": "b" },
      { a: "" },
      /is a file: there is no b in it/,
    ],
    ["a value that is no YAML", {}, { a: "[" }, /user-data a: not YAML/],
    [
      "what is no base64",
      { "user-data-key": "a", "user-data-encoding": "base64" },
      { a: "a b!" },
      /is not base64/,
    ],
    [
      "base64 of a directory",
      { "user-data-encoding": "base64" },
      { a: "" },
      /name it with trine.dev\/user-data-key/,
    ],
    [
      "what is no text",
      { "user-data-key": "a" },
      { a: Buffer.from([0xff, 0xfe]) },
      /is not text in UTF-8/,
    ],
    [
      "too much",
      { "user-data-key": "a" },
      { a: Buffer.alloc(1.5 * 1024 * 1024 + 1) },
      /read \/s: more than 1572864 bytes/,
    ],
  ])("refuses %s, naming the annotation", async (_, more, files, says) => {
    await volume("/s", files);
    const reading = told({ "user-data-from": "/s", ...more });
    await expect(reading).rejects.toThrow(says);
    await expect(reading).rejects.toThrow(/^annotation trine.dev\/user-data-from: /);
  });
});

test("a ConfigMap or Secret that is not mounted is refused with what to do", async () => {
  await expect(told({ VirtletSSHKeySource: "secret/admins/key" })).rejects.toThrow(
    "annotation trine.dev/ssh-keys-from: secret/admins is read from a volume of the machine's container, and none is " +
      "mounted at /trine.dev/secret/admins: add the Secret admins to the pod's volumes and mount it there",
  );
  await expect(told({ "files-from": "/no/where" })).rejects.toThrow(
    "annotation trine.dev/files-from: no volume of the container is mounted at or above /no/where",
  );
});

test("a link that leads out of its volume is not followed", async () => {
  await volume("/seed", {});
  await symlink("/etc/passwd", join(dir, "0", "user-data"));
  await expect(told({ "user-data-from": "/seed/user-data" })).rejects.toThrow(/leads out/);
  await expect(told({ "user-data-from": "/seed" })).rejects.toThrow(/leads out/);
});

describe("SSH keys", () => {
  test("come from authorized_keys or the key that is named, before those of the annotation", async () => {
    await volume("/trine.dev/configmap/a", {
      authorized_keys: `# ours\n${KEY} a\n`,
      k: `${KEY} k`,
    });
    const own = { VirtletSSHKeys: `${KEY} own` };
    const keys = async (of: Record<string, string>) => (await told({ ...own, ...of })).sshKeys;
    const implicit = { VirtletSSHKeySource: "configmap/a" };
    expect(await keys(implicit)).toEqual([`${KEY} a`, `${KEY} own`]);
    expect(await keys({ VirtletSSHKeySource: "configmap/a/k" })).toEqual([
      `${KEY} k`,
      `${KEY} own`,
    ]);
    const replaced = { ...implicit, VirtletCloudInitUserDataOverwrite: "true" };
    expect(await keys(replaced)).toEqual([`${KEY} own`]);
  });

  test("that are none are refused", async () => {
    await volume("/trine.dev/secret/a", { authorized_keys: "ssh-ed25519 nonsense" });
    await expect(told({ "ssh-keys-from": "secret/a" })).rejects.toThrow(
      /trine.dev\/ssh-keys-from: line 1: the key is/,
    );
    await expect(told({ "ssh-keys-from": "secret/a/b" })).rejects.toMatchObject({
      kind: "notFound",
    });
  });
});

describe("files", () => {
  test("are where their paths say, plain or in base64, a Secret's for root alone", async () => {
    const files = { a: "aGk=", a_path: "/etc/a\n", b: "hi\n", b_path: "/b", b_encoding: "plain" };
    await volume("/trine.dev/configmap/f", files);
    await volume("/trine.dev/secret/f", files);
    const of = async (from: string) => (await told({ "files-from": from })).files;
    expect(await of("configmap/f")).toEqual([
      { path: "/etc/a", bytes: Buffer.from("hi"), mode: 0o644, when: "instance" },
      { path: "/b", bytes: Buffer.from("hi\n"), mode: 0o644, when: "instance" },
    ]);
    expect((await of("secret/f")).map(({ mode }) => mode)).toEqual([0o600, 0o600]);
  });

  test.each<[Record<string, string>, RegExp]>([
    [{ a: "" }, /a has no a_path/],
    [{ a: "", a_path: "/a", a_encoding: "gzip" }, /a_encoding is "gzip": "base64" or "plain"/],
    [{ a: "text!", a_path: "/a" }, /a, read as base64 .*is not base64/],
    [{ a_path: "/a" }, /a_path says something of a, which is not there/],
  ])("%j is refused", async (files, says) => {
    await volume("/f", files);
    await expect(told({ "files-from": "/f" })).rejects.toThrow(says);
  });
});

test("a network and an Ignition config come from a file as well", async () => {
  const config = '{"ignition": {"version": "3.4.0"}}\n';
  await volume("/trine.dev/secret/net", { v2: "version: 2\n", ign: config, bad: "{}" });
  expect((await told({ "network-data-from": "secret/net/v2" })).networkData).toBe("version: 2\n");
  await expect(told({ "network-data-from": "secret/net" })).rejects.toThrow(
    /network-data-from: there is no networkdata: it has bad, ign, v2/,
  );
  const ignition = (from: string) => ignitionOf(settings({ "ignition-from": from }), spec());
  expect(await ignition("secret/net/ign")).toBe(config);
  await expect(ignition("secret/net/bad")).rejects.toThrow(
    /ignition-from: has no ignition.version/,
  );
  expect(await ignitionOf(settings({ ignition: config }), spec())).toBe(config);
});

test("answers of Windows' setup are a directory that has them", async () => {
  await volume("/answers", { "Autounattend.xml": "<a/>", "run.cmd": "x" });
  await volume("/other", { "run.cmd": "x" });
  const answers = (from: string) => answersOf(settings({ "sysprep-from": from }), spec());
  expect((await answers("/answers"))?.map(({ name }) => name)).toEqual([
    "Autounattend.xml",
    "run.cmd",
  ]);
  await expect(answers("/other")).rejects.toThrow(
    "annotation trine.dev/sysprep-from: has neither autounattend.xml nor unattend.xml",
  );
  await expect(answers("/answers/run.cmd")).rejects.toThrow(/is a file: a directory is needed/);
  expect(await answersOf(settings({}), spec())).toBeUndefined();
});

test("a directory of keys is its authorized_keys, or all of its files", async () => {
  const key = (of: string): string =>
    `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ${of}`;
  await volume("/keys", { ada: key("ada"), bob: `${key("bob")}\n` });
  expect((await told({ "ssh-keys-from": "/keys" })).sshKeys).toEqual([key("ada"), key("bob")]);
  await volume("/whole", { ada: key("ada"), authorized_keys: key("all") });
  expect((await told({ "ssh-keys-from": "/whole" })).sshKeys).toEqual([key("all")]);
  const both = await told({ "ssh-keys-from": "/whole,/keys" });
  expect(both.sshKeys).toEqual([key("all"), key("ada"), key("bob")]);
  await volume("/none", {});
  await expect(told({ "ssh-keys-from": "/none" })).rejects.toThrow(/there is no key: it is empty/);
});

test.each([
  ["in the letters that are said", { userdata: "#!/bin/a", userData: "#!/bin/b" }, "#!/bin/a"],
  ["in others", { userData: "#!/bin/b", x: "#" }, "#!/bin/b"],
])("a key of a Secret %s", async (_, files, text) => {
  await volume("/s", files);
  const { userData } = await told({ "user-data-from": "/s", "user-data-key": "userdata" });
  expect(userData).toBe(text);
});

test("network-data of a directory is its networkdata", async () => {
  await volume("/n", { networkData: "version: 2\n" });
  expect((await told({ "network-data-from": "/n" })).networkData).toBe("version: 2\n");
});
