import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cachedDir, resolvePackages, unpackPackages } from "@trine/testkit";
import { FORGET_HOOK, configDriveSeed, fileHook, nocloudSeed, vendorDataOf } from "./index.ts";
import type { SeedInput } from "./index.ts";

const run = promisify(execFile);
const input: SeedInput = {
  instanceId: "default.web.0123",
  hostname: "web",
  userData: "#cloud-config\npackages: [curl]\nwrite_files:\n- {path: /a, permissions: '0644'}\n",
  metaData: { odd: "a\u0085b\u2028c\u007fd😀" },
  sshKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE someone"],
  network: {
    interfaces: [
      {
        name: "eth0",
        mac: "02:00:00:00:00:01",
        mtu: 1450,
        addresses: ["10.1.0.2/32", "fd00::2/64"],
        routes: [
          { to: "169.254.1.1/32" },
          { to: "169.254.77.1/32" },
          { to: "0.0.0.0/0", via: "169.254.1.1" },
          { to: "::/0", via: "fd00::1" },
        ],
      },
      {
        name: "net1",
        mac: "02:00:00:00:00:02",
        mtu: 1400,
        addresses: ["10.2.0.2/24"],
        routes: [{ to: "10.3.0.0/16", via: "10.2.0.1", metric: 50 }],
      },
    ],
    nameservers: ["10.96.0.10"],
    search: ["svc.cluster.local"],
  },
};
/** cloud-init and what it imports. Unpacked, never installed: installed, it would take over this machine. */
const PACKAGES = [
  ...["cloud-init", "python3-attr", "python3-certifi", "python3-chardet", "python3-configobj"],
  ...["python3-charset-normalizer", "python3-idna", "python3-jinja2", "python3-json-pointer"],
  ...["python3-jsonpatch", "python3-jsonschema", "python3-markupsafe", "python3-netifaces"],
  ...[
    "python3-oauthlib",
    "python3-pyrsistent",
    "python3-requests",
    "python3-serial",
    "python3-six",
  ],
  ...["python3-urllib3", "python3-yaml"],
];
let env: NodeJS.ProcessEnv;
let dir: string;

const cloudInit = (...args: string[]) =>
  run("python3", ["-m", "cloudinit.cmd.main", ...args], { env });

beforeAll(async () => {
  const packages = await resolvePackages(PACKAGES);
  const unpacked = await cachedDir("cloud-init", [JSON.stringify(packages)], (making) =>
    unpackPackages(packages, making),
  );
  env = { ...process.env, PYTHONPATH: join(unpacked, "usr/lib/python3/dist-packages") };
  dir = await mkdtemp(join(tmpdir(), "trine-cloud-init-"));
  for (const { name, bytes } of nocloudSeed(input)) await writeFile(join(dir, name), bytes);
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

test("cloud-init's own schema accepts the user data, also of a machine without any", async () => {
  const check = (path: string) => cloudInit("schema", "-c", path);
  expect((await check(join(dir, "user-data"))).stdout).toMatch(/valid/i);
  const [, empty] = nocloudSeed({ ...input, userData: undefined });
  await writeFile(join(dir, "empty"), empty?.bytes ?? "");
  expect((await check(join(dir, "empty"))).stdout).toMatch(/valid/i);
});

test("cloud-init's YAML reader takes the meta-data as we meant it", async () => {
  const program =
    "import json,sys,yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
  const { stdout } = await run("python3", ["-c", program, join(dir, "meta-data")], { env });
  expect(JSON.parse(stdout)).toEqual({
    "instance-id": "default.web.0123",
    "local-hostname": "web",
    "public-keys": input.sshKeys,
    odd: "a\u0085b\u2028c\u007fd😀",
  });
});

test.each([
  [
    "netplan",
    [
      "10.1.0.2/32",
      "fd00::2/64",
      "via: 169.254.1.1",
      "on-link: true",
      "gateway6: fd00::1",
      "mtu: 1450",
      "set-name: net1",
      "metric: 50",
    ],
  ],
  [
    "eni",
    [
      "address 10.1.0.2/32",
      "default gw 169.254.1.1",
      "address fd00::2/64",
      "gateway fd00::1",
      "mtu 1450",
      "iface net1 inet static",
      "net 10.3.0.0/16 gw 10.2.0.1",
    ],
  ],
  [
    "networkd",
    [
      "Address=10.1.0.2/32",
      "Gateway=169.254.1.1",
      "Gateway=fd00::1",
      "MTUBytes=1450",
      "MACAddress=02:00:00:00:00:01",
      "MACAddress=02:00:00:00:00:02",
      "Destination=10.3.0.0/16",
    ],
  ],
  [
    "network-manager",
    [
      "address1=10.1.0.2/32",
      "0.0.0.0/0,169.254.1.1",
      "gateway=fd00::1",
      "mac-address=02:00:00:00:00:01",
      "mac-address=02:00:00:00:00:02",
      "10.3.0.0/16,10.2.0.1",
    ],
  ],
])("the network renders for %s", async (renderer, expected) => {
  const out = join(dir, renderer);
  const config = join(dir, "network-config");
  const kind = ["-p", config, "-k", "yaml", "-D", "debian", "-O", renderer];
  await cloudInit("devel", "net-convert", ...kind, "-d", out);
  const entries = await readdir(out, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const texts = files.map((entry) => readFile(join(entry.parentPath, entry.name), "utf8"));
  const text = (await Promise.all(texts)).join("\n");
  for (const words of expected) expect(text).toContain(words);
  expect(text).not.toContain("::/64");
});

/** What a program in Python that has cloud-init prints, as JSON. */
async function python(program: string, ...args: string[]): Promise<unknown> {
  const { stdout } = await run("python3", ["-c", program, ...args], { env });
  return JSON.parse(stdout);
}

test("cloud-init reads a ConfigDrive as it reads NoCloud: identity, keys, user data, vendor data", async () => {
  const drive = join(dir, "drive");
  for (const { name, bytes } of configDriveSeed({ ...input, vendorData: "#cloud-boothook\n" })) {
    await mkdir(dirname(join(drive, name)), { recursive: true });
    await writeFile(join(drive, name), bytes);
  }
  const program = [
    "import json, sys",
    "from cloudinit.sources import convert_vendordata, normalize_pubkey_data",
    "from cloudinit.sources.DataSourceConfigDrive import read_config_drive",
    "found = read_config_drive(sys.argv[1])",
    "meta = found['metadata']",
    "print(json.dumps([meta['local-hostname'], meta['instance-id'], normalize_pubkey_data(meta['public_keys']),",
    "  found['userdata'].decode(), convert_vendordata(found['vendordata']), found['version']]))",
  ].join("\n");
  expect(await python(program, drive)).toEqual([
    "web",
    expect.stringMatching(/^[0-9a-f-]{36}$/),
    input.sshKeys,
    input.userData,
    "#cloud-boothook\n",
    2,
  ]);
});

test.each([
  ["network_data.json", "network_data.json", "the ConfigDrive's", configDriveSeed],
  ["network-config", "yaml", "version 1", nocloudSeed],
] as const)(
  "%s (%s) renders: static where it can be said, DHCP else",
  async (file, kind, _, seed) => {
    const [routed, bridged] = input.network?.interfaces ?? [];
    const network = {
      ...input.network,
      interfaces: [routed, bridged].filter((nic) => nic !== undefined),
    };
    const interfaces = network.interfaces.map((nic, index) => {
      // On the link of no address: of IPv6 neither format can say it.
      return index === 0 ? { ...nic, addresses: ["10.1.0.2/32", "fd00::2/64"] } : nic;
    });
    const files = seed({
      ...input,
      network: { nameservers: ["10.96.0.10"], search: [], interfaces },
      networkVersion: 1,
    });
    const bytes = files.find(({ name }) => name.endsWith(file))?.bytes ?? Buffer.alloc(0);
    const path = join(dir, `v1-${file}`);
    await writeFile(path, bytes);
    const out = join(dir, `out-${file}`);
    const macs = network.interfaces.flatMap(({ name, mac }) => ["-m", `${name ?? ""},${mac}`]);
    const how = ["-p", path, "-k", kind, "-D", "debian", "-O", "networkd", "-d", out, ...macs];
    await cloudInit("devel", "net-convert", ...how);
    const entries = await readdir(out, { recursive: true, withFileTypes: true });
    const texts = entries
      .filter((entry) => entry.isFile())
      .map((entry) => readFile(join(entry.parentPath, entry.name), "utf8"));
    const text = (await Promise.all(texts)).join("\n");
    const words = ["DHCP=ipv4", "Address=fd00::2/64", "Gateway=fd00::1", "Address=10.2.0.2/24"];
    words.push("Destination=10.3.0.0/16", "MACAddress=02:00:00:00:00:02", "DNS=10.96.0.10");
    for (const word of words) expect(text).toContain(word);
  },
);

test("cloud-init takes each part of our vendor data for what it is", async () => {
  const bytes = Buffer.from("x".repeat(100));
  const hook = fileHook([{ path: "/a", bytes, mode: 0o644, when: "boot" }]);
  const config = "#cloud-config\nupdates: {network: {when: [boot]}}\n";
  await writeFile(join(dir, "vendor"), vendorDataOf([config, hook, "#cloud-boothook\n"]) ?? "");
  const program = [
    "import json, sys",
    "from cloudinit import user_data",
    "class Paths:",
    "  def get_ipath_cur(self, *a): return '/'",
    "  get_cpath = get_ipath_cur",
    "message = user_data.UserDataProcessor(Paths()).process(open(sys.argv[1]).read())",
    "parts = [part for part in message.walk() if part.get_content_maintype() != 'multipart']",
    "print(json.dumps([[part.get_content_type(), part.get_payload(decode=True).decode()] for part in parts]))",
  ].join("\n");
  expect(await python(program, join(dir, "vendor"))).toEqual([
    ["text/cloud-config", config],
    ["text/cloud-boothook", "#cloud-boothook\n"],
    ["text/cloud-boothook", hook],
  ]);
});

/** Two boots of one ConfigDrive by cloud-init's own stages; the second has another network. What is said of each. */
const BOOTS = String.raw`
import json, os, shutil, subprocess, sys
from cloudinit import sources, stages
from cloudinit.settings import PER_INSTANCE
root, hook = sys.argv[1:3]
paths = {"cloud_dir": root + "/lib", "run_dir": root + "/run"}
with open(root + "/cfg", "w") as file:
    system = {"distro": "debian", "paths": paths}
    json.dump({"datasource_list": ["ConfigDrive"], "system_info": system, "def_log_file": root + "/log"}, file)
os.environ["CLOUD_CFG"] = root + "/cfg"
def boot():
    shutil.rmtree(paths["run_dir"], ignore_errors=True)
    os.makedirs(paths["run_dir"])
    init = stages.Init(ds_deps=[sources.DEP_FILESYSTEM])
    init.read_cfg()
    init.initialize()
    init.fetch(existing="check")
    init.instancify()
    init.datasource.known_macs = {"02:00:00:00:00:01": "eth0"}
    applied = []
    # What would look at this machine's own network, or change it.
    init._apply_netcfg_names = lambda config: None
    init._network_already_configured = lambda: False
    init.distro.apply_network_config = lambda config, bring_up=False: applied.append(config) or True
    init.distro.networking.wait_for_physdevs = lambda *args, **more: None
    init.apply_network_config(bring_up=False)
    worked, _ = init.cloudify().run("once", lambda: None, {}, freq=PER_INSTANCE)
    subprocess.run(["sh", "-c", hook], check=True)
    return [[address for address in ("10.1.0.2", "10.1.0.3") if address in json.dumps(applied)], worked]
first = boot()
path = root + "/lib/seed/config_drive/openstack/latest/network_data.json"
with open(path) as file: text = file.read()
with open(path, "w") as file: file.write(text.replace("10.1.0.2", "10.1.0.3"))
print(json.dumps([first, boot()]))
`;

test.each([
  [
    "with our hook the network is each boot's, and what is done once is done once",
    FORGET_HOOK,
    ["10.1.0.3"],
  ],
  ["without it the network stays the first boot's", "", []],
])("a ConfigDrive on a root that stays: %s", async (_, hook, second) => {
  const root = join(dir, hook === "" ? "plain" : "hooked");
  const nic = { name: "eth0", mac: "02:00:00:00:00:01", mtu: 1450, addresses: ["10.1.0.2/24"] };
  const interfaces = [{ ...nic, routes: [{ to: "0.0.0.0/0", via: "10.1.0.1" }] }];
  const network = { interfaces, nameservers: [], search: [] };
  for (const file of configDriveSeed({
    instanceId: "default.web",
    hostname: "web",
    sshKeys: [],
    network,
  })) {
    const path = join(root, "lib/seed/config_drive", file.name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file.bytes);
  }
  expect(await python(BOOTS, root, hook.replaceAll("/var/lib/cloud", join(root, "lib")))).toEqual([
    [["10.1.0.2"], true],
    [second, false],
  ]);
});
