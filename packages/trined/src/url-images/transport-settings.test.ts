import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ImageTransport } from "./image-mapping.ts";
import { transportSettings } from "./transport-settings.ts";

let dir: string;
/** Of an authority, and of one it is not. */
const pem = { ca: "", leaf: "", key: "" };

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "trine-transport-"));
  const make = (name: string, basic: string): void => {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const to = ["-keyout", `${name}.key`, "-out", `${name}.pem`, "-subj", `/CN=${name}`];
    const extension = ["-addext", `basicConstraints=critical,CA:${basic}`];
    const args = ["req", "-x509", ...key, ...to, ...extension];
    execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  };
  make("ca", "TRUE");
  make("leaf", "FALSE");
  const read = (name: string): string => readFileSync(join(dir, name), "utf8").trim();
  Object.assign(pem, { ca: read("ca.pem"), leaf: read("leaf.pem"), key: read("leaf.key") });
});
afterAll(() => rm(dir, { recursive: true }));

type Tls = NonNullable<ImageTransport["tls"]>;

function settings(tls: Partial<Tls>, more: Partial<ImageTransport> = {}) {
  const whole = { certificates: [], serverName: "", insecure: false, ...tls };
  return transportSettings({ timeout: 0, proxy: "", ...more, tls: whole }, dir);
}

test("a transport without fields asks for nothing", async () => {
  expect(await transportSettings({ timeout: 5, proxy: "" }, dir)).toEqual({
    ownServer: { insecure: false },
  });
});

test("redirects, server name, proxy and trust are as they are written; no redirects are some too", async () => {
  const more = { maxRedirects: 0, proxy: "http://p:1" };
  expect(await settings({ serverName: "a.test", insecure: true }, more)).toEqual({
    maxRedirects: 0,
    proxy: "http://p:1",
    ownServer: { insecure: true, serverName: "a.test" },
  });
});

test("an authority is trusted, and a certificate with a key is ours, wherever the two are written", async () => {
  const authority = { cert: pem.ca, key: "" };
  const apart = await settings({ certificates: [authority, { cert: pem.leaf, key: pem.key }] });
  expect(apart.ownServer?.certificate).toEqual({ cert: pem.leaf, key: pem.key });
  expect(readFileSync(apart.caFile ?? "", "utf8")).toBe(pem.ca);
  const together = { cert: [pem.key, pem.leaf, pem.ca].join("\n"), key: "" };
  expect(await settings({ certificates: [together] })).toEqual(apart);
});

test("a certificate that is neither is for nothing", async () => {
  expect(await settings({ certificates: [{ cert: pem.leaf, key: "" }] })).toEqual({
    ownServer: { insecure: false },
  });
});

test.each<[string, () => Tls["certificates"], RegExp]>([
  ["no PEM", () => [{ cert: "secret", key: "" }], /without a certificate/],
  ["a key alone", () => [{ cert: "", key: pem.key }], /without a certificate/],
  [
    "garbage in PEM",
    () => [{ cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", key: "" }],
    /cannot be read/,
  ],
  [
    "two of our own",
    () => [
      { cert: pem.leaf, key: pem.key },
      { cert: pem.leaf, key: pem.key },
    ],
    /one is wanted/,
  ],
])("refuses %s without its secrets", async (_, certificates, words) => {
  const refused = settings({ certificates: certificates() });
  await expect(refused).rejects.toMatchObject({ kind: "invalid" });
  await expect(refused).rejects.toThrow(words);
  await expect(refused).rejects.not.toThrow(/secret|PRIVATE/);
});
