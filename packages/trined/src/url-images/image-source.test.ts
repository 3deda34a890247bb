import { expect, test } from "vitest";
import { parseMapping } from "./image-mapping.ts";
import { sourceOf } from "./image-source.ts";

const RULES = {
  prefix: "virtlet.cloud/",
  hosts: ["files.test", "*.mirror.test"],
  protocol: "https",
} as const;

const MAPPINGS = [
  parseMapping(
    `
prefix: mine
translations:
- {name: cirros, url: "http://a.test:8080/C.img?x=1", transport: slow}
- {regexp: '^centos/(\\d+)-(?P<minor>\\d+)$', url: 'https://b.test/$1/CentOS-\${1}-$minor-$$9$3.qcow2'}
- {name: centos/7-01, url: "https://b.test/fixed"}
transports:
  slow: {timeout: 30000, proxy: "http://proxy.test:1", tls: {certificates: [{cert: PEM}]}}
  "": {timeout: 5}
`,
    "a.yaml",
  ),
  parseMapping(
    `{apiVersion: virtlet.k8s/v1, kind: VirtletImageMapping, metadata: {name: x}, spec:
      {translations: [{name: secret, url: "https://user:p%40ss@c.test/s"}, {name: odd, url: "ftp://x"}]}}`,
    "b.yaml",
  ),
];

function source(name: string) {
  return sourceOf(`virtlet.cloud/${name}`, MAPPINGS, RULES);
}

test("names lead where the mappings say, fixed ones first, else to their own server", () => {
  const urls = ["mine/cirros", "mine/centos/7-02", "mine/centos/7-01", "files.test/a/b.img:v1"];
  expect([...urls, "x.mirror.test/c"].map((name) => source(name).url.href)).toEqual([
    "http://a.test:8080/C.img?x=1",
    "https://b.test/7/CentOS-7-02-$9.qcow2",
    "https://b.test/fixed",
    "https://files.test/a/b.img",
    "https://x.mirror.test/c",
  ]);
  expect(source("mine/cirros").transport).toMatchObject({ timeout: 30_000, proxy: /proxy/ });
  expect(source("mine/centos/7-01").transport).toMatchObject({ timeout: 5 });
  expect(source("secret")).toMatchObject({
    url: { href: "https://c.test/s" },
    credentials: { username: "user", password: "p@ss" },
  });
});

test("a server that a pod has named leads only to such, one of a mapping anywhere", () => {
  const { mayFollow } = source("files.test/a");
  const leads = ["https://x.mirror.test/a", "http://files.test/b", "http://files.test:8080/b"];
  const follows = [...leads, "http://169.254.169.254/a"].map((to) => mayFollow?.(new URL(to)));
  expect(follows).toEqual([true, true, false, false]);
  expect(source("mine/cirros").mayFollow).toBeUndefined();
});

test("the image has the name that CRI looks for", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  const names = ["files.test/a", "files.test/a:v1", `files.test/a:v1@${digest}`];
  expect(names.map((name) => source(name).reference)).toEqual([
    "virtlet.cloud/files.test/a:latest",
    "virtlet.cloud/files.test/a:v1",
    `virtlet.cloud/files.test/a@${digest}`,
  ]);
  expect(source(names[2] ?? "").checksum).toEqual({ algorithm: "sha256", hex: "a".repeat(64) });
});

test.each([
  ["169.254.169.254/latest/meta-data", "forbidden"],
  ["evil.test/files.test/a", "forbidden"],
  ["mirror.test/a", "forbidden"],
  ["files.test", "forbidden"],
  ["unknown", "forbidden"],
  ["files.test/../etc", "invalid"],
  ["files.test:80/a", "invalid"],
  ["files.test/a?x", "invalid"],
  ["odd", "invalid"],
  ["", "invalid"],
  [`files.test/${"a".repeat(300)}`, "invalid"],
])("refuses virtlet.cloud/%s", (name, kind) => {
  expect(() => source(name)).toThrow(expect.objectContaining({ kind }));
});

test.each([
  ["translations: [{url: x}]", /name or regexp/],
  ["translations: [{name: a, regexp: b, url: x}]", /name or regexp/],
  ["translations: [{name: a}]", /translations\.0/],
  ["transports: {a: {timeout: -1}}", /timeout/],
  ["colour: red", /not known/],
  ["[", /no YAML/],
  [`prefix: ${"x".repeat(2 ** 20)}`, /too long/],
])("refuses a mapping with %s", (content, words) => {
  expect(() => parseMapping(content, "m.yaml")).toThrow(words);
});

test.each([
  ["ubuntu\\-(\\d+)", "a/ubuntu-22"],
  ["(?i)centos(\\d+)", "CentOS22".toLowerCase()],
  ["(?i)CENTOS(?P<v>\\d+)", "centos22"],
  ["^[a-z\\-]+\\/(\\d+)$", "a-b/22"],
])("an expression of Go's: %s", (regexp, name) => {
  const url = "https://x.test/$1";
  const mapping = parseMapping(JSON.stringify({ translations: [{ regexp, url }] }), "m");
  expect(sourceOf(`virtlet.cloud/${name}`, [mapping], RULES).url.href).toBe("https://x.test/22");
});

test.each(["(", "a(?i)b", "\\Aa", "a\\z", "[[:alpha:]]", "\\pL", "\\x{10FFFF}", "\\\\\\Qa"])(
  "an expression that cannot be read is passed over, and told to who finds nothing: %s",
  (regexp) => {
    const translations = [
      { regexp, url: "https://bad.test" },
      { regexp: "^good$", url: "https://x.test/good" },
    ];
    const mapping = parseMapping(JSON.stringify({ translations }), "m");
    const of = (name: string) => sourceOf(`virtlet.cloud/${name}`, [mapping], RULES).url.href;
    expect(of("good")).toBe("https://x.test/good");
    expect(() => of("other")).toThrow(`regexp ${JSON.stringify(regexp)}`);
  },
);

test("a transport there is not is named", () => {
  const none = parseMapping("translations: [{name: a, url: 'https://x', transport: t}]", "m");
  expect(() => sourceOf("virtlet.cloud/a", [none], RULES)).toThrow(/no transport "t"/);
});
