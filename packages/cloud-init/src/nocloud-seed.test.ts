import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { nocloudSeed } from "./index.ts";
import type { GuestNetwork, SeedInput } from "./index.ts";

const base: SeedInput = { instanceId: "default.web.0123", hostname: "web" };
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE someone";

function seedText(input: Partial<SeedInput>): Record<string, string> {
  const files = nocloudSeed({ ...base, ...input });
  return Object.fromEntries(files.map(({ name, bytes }) => [name, Buffer.from(bytes).toString()]));
}
const metaData = (input: Partial<SeedInput>) =>
  parse(seedText(input)["meta-data"] ?? "") as unknown;

test("a machine without anything of its own gets an identity and empty cloud-config", () => {
  expect(seedText({})).toEqual({
    "meta-data": '{\n "instance-id": "default.web.0123",\n "local-hostname": "web"\n}\n',
    "user-data": "#cloud-config\n{}\n",
  });
});

describe("user data passes unchanged:", () => {
  test.each([
    "#cloud-config\n# kept\nbootcmd: [a]\nwrite_files:\n- {path: /a, permissions: 0644}\n",
    "#cloud-config\r\na: 1\r\na: 2\r\n",
    "#cloud-config",
    "#cloud-config\n- long enough to be left to the guest\n".padEnd(40_000, "#"),
    "#!/bin/sh\n: [\n",
    "#include\nhttp://a.example/\n",
    "#cloud-config-archive\n- a\n",
    "## template: jinja\n#cloud-config\n{{ v1.local_hostname }}: [\n",
    'Content-Type: multipart/mixed; boundary="b"\nMIME-Version: 1.0\n\n--b--\n',
    "<powershell>\n</powershell>",
    "version: v1alpha1\nmachine: {}\n",
  ])("%j", (userData) => {
    expect(seedText({ userData, sshKeys: [key] })["user-data"]).toBe(userData);
  });
});

test("SSH keys go to the meta-data, whatever the user data is", () => {
  const options = 'from="10.0.0.0/8" ssh-rsa AAAA';
  expect(metaData({ userData: "#!/bin/sh\n", sshKeys: [`${key}\n`, options] })).toMatchObject({
    "public-keys": [key, options],
  });
});

test("meta-data is set over ours, given as a mapping, JSON or YAML", () => {
  const expected = { "instance-id": "i", "local-hostname": "web", x: { y: [1, "z"] } };
  expect(metaData({ metaData: { "instance-id": "i", x: { y: [1, "z"] } } })).toEqual(expected);
  expect(metaData({ metaData: '{"instance-id": "i", "x": {"y": [1, "z"]}}' })).toEqual(expected);
  expect(metaData({ metaData: "instance-id: i\nx:\n  y: [1, z]\n" })).toEqual(expected);
  expect(metaData({ metaData: "# nothing\n" })).toMatchObject({ "local-hostname": "web" });
});

test("text that YAML would read otherwise than JSON is escaped", () => {
  const odd = "a\u0085b\u2028c\u007fd\ufeffe\u00a0f😀";
  const text = seedText({ metaData: { odd } })["meta-data"] ?? "";
  expect(text).toContain("a\\u0085b\\u2028c\\u007fd\\ufeffe\\u00a0f😀");
  expect(parse(text)).toMatchObject({ odd });
});

describe("refuses, naming the key:", () => {
  const large = "x".repeat(1024 * 1024 + 1);
  const laughs = `a: &a [1]\n${Array.from({ length: 80 }, (_, i) => `k${i}: *a`).join("\n")}`;
  test.each<[string, Partial<SeedInput>, RegExp]>([
    [
      "broken YAML",
      { userData: "#cloud-config\na: [\n" },
      /^cloud-init user-data: not YAML: line 3: /,
    ],
    [
      "a list",
      { userData: "#cloud-config\n- a\n" },
      /user-data: .*something else than `key: value`/,
    ],
    ["text", { userData: "#cloud-config\nwords\n" }, /user-data: .*something else/],
    [
      "deep YAML",
      { userData: `#cloud-config\na: ${"[".repeat(30_000)}` },
      /^cloud-init user-data: /,
    ],
    ["much user data", { userData: large }, /user-data: 1048577 bytes; the limit is 1048576/],
    ["half a character", { userData: "\ud800" }, /user-data: is not well-formed/],
    ["a bad name", { hostname: "a_b\n" }, /local-hostname: "a_b\\n" is not a host name/],
    ["a bad id", { instanceId: "a b" }, /instance-id: "a b"/],
    ["no key", { sshKeys: [key, ""] }, /ssh keys\[1\]: is not one line/],
    ["two keys in one", { sshKeys: [`${key}\n${key}`] }, /ssh keys\[0\]: is not one line/],
    ["many keys", { sshKeys: Array<string>(257).fill(key) }, /257 keys/],
    ["a long key", { sshKeys: [`ssh-rsa ${"A".repeat(20_000)}`] }, /ssh keys\[0\]: is too long/],
    ["meta-data that is a list", { metaData: "- a" }, /meta-data: is not a mapping/],
    ["meta-data that expands", { metaData: laughs }, /meta-data: has too many or unknown aliases/],
    ["much meta-data", { metaData: { a: large } }, /meta-data: more than/],
  ])("%s", (_, input, says) => {
    const error = catching(() => nocloudSeed({ ...base, ...input }));
    expect(error).toMatchObject({ kind: "invalid" });
    expect((error as Error).message).toMatch(says);
  });
});

function catching(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

const dns = {
  nameservers: ["10.96.0.10", "fd00::a"],
  search: ["a.svc.cluster.local", "b.example."],
};
const nic = { mac: "02:00:00:00:00:01", mtu: 1450, addresses: ["10.0.0.2/24"], routes: [] };
const networkConfig = (network: GuestNetwork) =>
  JSON.parse(seedText({ network })["network-config"] ?? "") as unknown;

describe("network-config", () => {
  test("of a bridged pod of both families", () => {
    const routes = [
      { to: "10.0.0.0/24" },
      { to: "0.0.0.0/0", via: "10.0.0.1" },
      { to: "::/0", via: "fd00:1::1" },
      { to: "10.9.0.0/16", via: "10.0.0.7" },
    ];
    const network = {
      ...dns,
      interfaces: [{ ...nic, addresses: ["10.0.0.2/24", "fd00:1::2/64"], routes }],
    };
    expect(networkConfig(network)).toEqual({
      version: 2,
      ethernets: {
        eth0: {
          match: { macaddress: "02:00:00:00:00:01" },
          mtu: 1450,
          dhcp4: false,
          dhcp6: false,
          addresses: ["10.0.0.2/24", "fd00:1::2/64"],
          gateway6: "fd00:1::1",
          routes: [
            { to: "0.0.0.0/0", via: "10.0.0.1" },
            { to: "10.9.0.0/16", via: "10.0.0.7" },
          ],
          nameservers: { addresses: dns.nameservers, search: dns.search },
        },
      },
    });
  });

  test("of a routed pod: the gateway outside its address is on-link, its own route implied", () => {
    const routes = [
      { to: "169.254.1.1/32" },
      { to: "0.0.0.0/0", via: "169.254.1.1" },
      { to: "::/0", via: "fe80::1" },
    ];
    const network = {
      nameservers: [],
      search: [],
      interfaces: [{ ...nic, addresses: ["10.1.0.2/32", "fd00::2/128"], routes }],
    };
    expect(networkConfig(network)).toMatchObject({
      ethernets: {
        eth0: {
          gateway6: "fe80::1",
          routes: [{ to: "0.0.0.0/0", via: "169.254.1.1", "on-link": true }],
        },
      },
    });
  });

  test("a name for the interface, and routes that are preferred less", () => {
    const routes = [
      { to: "0.0.0.0/0", via: "10.1.0.1", metric: 200 },
      { to: "::/0", via: "fe80::1", metric: 300 },
    ];
    const network = { ...dns, interfaces: [{ ...nic, name: "net1", routes }] };
    expect(networkConfig(network)).toMatchObject({
      ethernets: {
        eth0: {
          "set-name": "net1",
          routes: [
            { to: "0.0.0.0/0", via: "10.1.0.1", metric: 200 },
            { to: "::/0", via: "fe80::1", metric: 300 },
          ],
        },
      },
    });
  });

  test("link routes that nothing implies: a host is its own gateway, a network has link scope", () => {
    const routes = [
      { to: "169.254.77.1/32" },
      { to: "10.8.0.0/16" },
      { to: "::/0", via: "fd09::1" },
    ];
    const network = { ...dns, interfaces: [{ ...nic, routes }] };
    expect(networkConfig(network)).toMatchObject({
      ethernets: {
        eth0: {
          routes: [
            { to: "169.254.77.1/32", via: "169.254.77.1", "on-link": true },
            { to: "10.8.0.0/16", scope: "link" },
            { to: "::/0", via: "fd09::1", "on-link": true },
          ],
        },
      },
    });
  });

  test("of two interfaces: by MAC, name servers once", () => {
    const second = { ...nic, mac: "02:00:00:00:00:0A", addresses: [] };
    const config = networkConfig({ ...dns, interfaces: [nic, second] }) as {
      ethernets: Record<string, object>;
    };
    expect(Object.keys(config.ethernets)).toEqual(["eth0", "eth1"]);
    expect(config.ethernets["eth1"]).toMatchObject({ match: { macaddress: "02:00:00:00:00:0a" } });
    expect(config.ethernets["eth1"]).not.toHaveProperty("nameservers");
  });

  test.each<[GuestNetwork, RegExp]>([
    [{ ...dns, interfaces: [{ ...nic, mac: "02:00" }] }, /interfaces\[0\]\.mac: "02:00" is not/],
    [{ ...dns, interfaces: [{ ...nic, mtu: 1 }] }, /interfaces\[0\]\.mtu: 1 is not/],
    [
      { ...dns, interfaces: [{ ...nic, addresses: ["10.0.0.2"] }] },
      /addresses\[0\]: "10\.0\.0\.2"/,
    ],
    [{ ...dns, interfaces: [{ ...nic, addresses: ["10.0.0.2/33"] }] }, /addresses\[0\]/],
    [{ ...dns, interfaces: [{ ...nic, addresses: ["fe80::1%eth0/64"] }] }, /addresses\[0\]/],
    [
      { ...dns, interfaces: [{ ...nic, routes: [{ to: "default" }] }] },
      /routes\[0\]\.to: "default"/,
    ],
    [
      { ...dns, interfaces: [{ ...nic, routes: [{ to: "::/0", via: "10.0.0.1" }] }] },
      /routes\[0\]\.via: "10\.0\.0\.1" is no ipv6 address/,
    ],
    [{ ...dns, nameservers: ["ns"], interfaces: [nic] }, /nameservers\[0\]: "ns"/],
    [{ ...dns, search: ["a b"], interfaces: [nic] }, /search\[0\]: "a b" is not a domain/],
    [{ ...dns, interfaces: Array<typeof nic>(17).fill(nic) }, /interfaces: 17 entries/],
  ])("refuses %j", (network, says) => {
    expect(() => nocloudSeed({ ...base, network })).toThrow(says);
  });
});
