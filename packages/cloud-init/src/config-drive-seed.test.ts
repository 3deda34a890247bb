import { describe, expect, test } from "vitest";
import { configDriveSeed, nocloudSeed } from "./index.ts";
import type { SeedFile, SeedInput } from "./index.ts";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE someone";
const base: SeedInput = { instanceId: "default.web.0123", hostname: "web", sshKeys: [key] };
const nic = {
  mac: "02:00:00:00:00:01",
  mtu: 1450,
  addresses: ["10.0.0.2/24", "fd00:1::2/64"],
  routes: [
    { to: "0.0.0.0/0", via: "10.0.0.1" },
    { to: "10.9.0.0/16", via: "10.0.0.7" },
    { to: "::/0", via: "fd00:1::1" },
  ],
};
const network = { interfaces: [nic], nameservers: ["10.96.0.10"], search: ["a.example"] };
const routed = {
  ...network,
  interfaces: [
    {
      ...nic,
      addresses: ["10.1.0.2/32"],
      routes: [{ to: "169.254.1.1/32" }, { to: "0.0.0.0/0", via: "169.254.1.1" }],
    },
  ],
};
const routed6 = {
  ...network,
  interfaces: [{ ...nic, addresses: ["fd00::2/128"], routes: [{ to: "::/0", via: "fd09::1" }] }],
};

function json(files: readonly SeedFile[], name: string): unknown {
  const found = files.find((file) => file.name === name);
  return found && JSON.parse(Buffer.from(found.bytes).toString());
}
const drive = (input: Partial<SeedInput>, name: string): unknown =>
  json(configDriveSeed({ ...base, ...input }), `openstack/latest/${name}`);

test("has OpenStack's files, with the user data byte for byte", () => {
  const files = configDriveSeed({ ...base, userData: "#!/bin/sh\n", vendorData: "#x", network });
  expect(files.map(({ name }) => name)).toEqual(
    ["meta_data.json", "user_data", "network_data.json", "vendor_data.json"].map(
      (name) => `openstack/latest/${name}`,
    ),
  );
  expect(Buffer.from(files[1]?.bytes ?? []).toString()).toBe("#!/bin/sh\n");
  expect(json(files, "openstack/latest/vendor_data.json")).toEqual({ "cloud-init": "#x" });
});

test("its meta-data is NoCloud's under OpenStack's names", () => {
  const meta = drive({}, "meta_data.json");
  expect(meta).toEqual({
    uuid: expect.stringMatching(
      /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/,
    ) as string,
    hostname: "web",
    name: "web",
    public_keys: { "key-0": key },
  });
  expect(drive({}, "meta_data.json")).toEqual(meta);
  expect(drive({ instanceId: "other" }, "meta_data.json")).not.toEqual(meta);
});

test("what the user sets goes over it, by NoCloud's names too", () => {
  const metaData = { "instance-id": "i-1", "local-hostname": "db", region: "eu-1" };
  expect(drive({ metaData }, "meta_data.json")).toMatchObject({
    uuid: "i-1",
    hostname: "db",
    region: "eu-1",
  });
});

test("network_data.json has links, networks with their routes, and name servers", () => {
  expect(drive({ network }, "network_data.json")).toEqual({
    links: [{ id: "link0", type: "phy", ethernet_mac_address: "02:00:00:00:00:01", mtu: 1450 }],
    networks: [
      {
        id: "link0-0",
        network_id: "link0-0",
        link: "link0",
        type: "ipv4",
        ip_address: "10.0.0.2",
        netmask: "255.255.255.0",
        routes: [
          { network: "0.0.0.0", netmask: "0.0.0.0", gateway: "10.0.0.1" },
          { network: "10.9.0.0", netmask: "255.255.0.0", gateway: "10.0.0.7" },
        ],
      },
      {
        id: "link0-1",
        network_id: "link0-1",
        link: "link0",
        type: "ipv6",
        ip_address: "fd00:1::2",
        netmask: "ffff:ffff:ffff:ffff::",
        routes: [{ network: "::", netmask: "::", gateway: "fd00:1::1" }],
      },
    ],
    services: [{ type: "dns", address: "10.96.0.10" }],
  });
});

test("a gateway that no address reaches is left to DHCP, of IPv6 it is refused", () => {
  expect(drive({ network: routed }, "network_data.json")).toMatchObject({
    networks: [{ link: "link0", type: "ipv4_dhcp" }],
  });
  expect(() => drive({ network: routed6 }, "network_data.json")).toThrow(
    /network: the route to "::\/0" needs version 2/,
  );
});

test("version 1 of NoCloud's has the same, and leaves the same to DHCP", () => {
  const v1 = (of: SeedInput["network"]): unknown =>
    json(nocloudSeed({ ...base, network: of, networkVersion: 1 }), "network-config");
  expect(v1(network)).toEqual({
    version: 1,
    config: [
      {
        type: "physical",
        name: "eth0",
        mac_address: "02:00:00:00:00:01",
        mtu: 1450,
        subnets: [
          {
            type: "static",
            address: "10.0.0.2/24",
            gateway: "10.0.0.1",
            routes: [{ network: "10.9.0.0", netmask: "255.255.0.0", gateway: "10.0.0.7" }],
          },
          { type: "static6", address: "fd00:1::2/64", gateway: "fd00:1::1" },
        ],
      },
      { type: "nameserver", address: ["10.96.0.10"], search: ["a.example"] },
    ],
  });
  expect(v1(routed)).toMatchObject({ config: [{ subnets: [{ type: "dhcp4" }] }, {}] });
});

describe("a network that the user wrote goes in place of ours", () => {
  const v2 = { version: 2, ethernets: {} };
  const data = { links: [], networks: [], services: [] };
  const nocloud = (networkData: SeedInput["networkData"]): unknown =>
    json(nocloudSeed({ ...base, network, networkData }), "network-config");

  test("as a mapping, as text, and inside of `network:`", () => {
    expect(nocloud(v2)).toEqual(v2);
    expect(nocloud("version: 1\nconfig: []\n")).toEqual({ version: 1, config: [] });
    expect(nocloud({ network: v2 })).toEqual(v2);
    expect(drive({ network, networkData: data }, "network_data.json")).toEqual(data);
  });

  test("unless no guest would read it", () => {
    expect(() => nocloud({ version: 3 })).toThrow(/network data: version is to be 1 or 2/);
    expect(() => nocloud("- a")).toThrow(/network data: is not a mapping/);
    expect(() => drive({ networkData: v2 }, "network_data.json")).toThrow(
      /network data: network_data.json has the lists links and networks/,
    );
  });
});
