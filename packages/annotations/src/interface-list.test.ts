import { expect, test } from "vitest";
import { parseMachineAnnotations } from "./parse-annotations.ts";

const read = (said: unknown) =>
  parseMachineAnnotations({
    "trine.dev/network-binding": "masquerade",
    "trine.dev/interfaces": typeof said === "string" ? said : JSON.stringify(said),
  }).interfaces;

test.each([
  ["{eth0: {ipv4: 10.11.12.0/24, link: down}}", { eth0: { ipv4: "10.11.12.0/24", link: "down" } }],
  [{ net1: { ipv6: "fd77::/64" } }, { net1: { ipv6: "fd77::/64" } }],
  [
    { eth0: { ports: "80, 8000-8010,53/udp" } },
    {
      eth0: {
        ports: [
          { protocol: "tcp", first: 80, last: 80 },
          { protocol: "tcp", first: 8000, last: 8010 },
          { protocol: "udp", first: 53, last: 53 },
        ],
      },
    },
  ],
  ["{eth0: {ports: 80}}", { eth0: { ports: [{ protocol: "tcp", first: 80, last: 80 }] } }],
])("reads %j", (said, interfaces) => {
  expect(read(said)).toEqual(interfaces);
});

const many = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`net${i}`, {}]));

const REFUSED: readonly (readonly [unknown, RegExp])[] = [
  ["[]", /is not a mapping/],
  [many, /has 9 interfaces/],
  [{ "a b": {} }, /has "a b", which is no interface's name/],
  [{ eth0: "down" }, /has eth0 "down", which is no mapping/],
  [{ eth0: { mtu: 1 } }, /has eth0 with "mtu" 1; allowed/],
  [{ eth0: { __proto__x: 1 } }, /has eth0 with "__proto__x"/],
  [{ eth0: { link: "sideways" } }, /"link" "sideways"/],
  ...["10.0.0.0", "10.0.0.0/31", "10.0.0.0/0", "10.0.0/24", "10.0.0.256/24", "10.0.0.0./24"].map(
    (ipv4) => [{ eth0: { ipv4 } }, /with "ipv4"/] as const,
  ),
  ...[
    "fd00::",
    "fd00::/127",
    "fd00::/0",
    "fd00::1::2/64",
    "fd00:::/64",
    "10.0.0.0/8",
    "::g/64",
  ].map((ipv6) => [{ eth0: { ipv6 } }, /with "ipv6"/] as const),
  ...["", "0", "65536", "9-8", "80/sctp", "80,,81", "a", `1${",1".repeat(256)}`].map(
    (ports) => [{ eth0: { ports } }, /with "ports"/] as const,
  ),
];

test.each(REFUSED)("refuses %j", (said, why) => {
  expect(() => read(said)).toThrow(why);
});

test("what is of a guest behind its pod's addresses is of no other", () => {
  const of = (binding: string, said: string) => () =>
    parseMachineAnnotations({
      "trine.dev/network-binding": binding,
      "trine.dev/interfaces": `{eth0: {${said}}}`,
    });
  for (const said of ["ipv4: 10.9.0.0/24", "ipv6: fd77::/64", "ports: 80"]) {
    expect(of("tap", said)).toThrow(/of a masqueraded interface, and eth0 is bound as tap/);
    expect(of("passt,net1=masquerade", said)).toThrow(/has an interface|bound as passt/);
    expect(of("eth0=masquerade", said)).not.toThrow();
  }
  expect(of("tap", "link: down")).not.toThrow();
});
