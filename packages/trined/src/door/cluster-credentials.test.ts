import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { certify, createAuthority, readRequest } from "@trine/certificates";
import type { KeyedCertificate } from "@trine/certificates";
import { CONFIG_MAPS, NODES, SIGNING_REQUESTS, pointer } from "@trine/kube-client";
import type { CertificateSigningRequest, Stored } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import type { DoorCredentials } from "@trine/node-door";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { clusterCredentials } from "./cluster-credentials.ts";
import { readIdentity } from "./kept-identity.ts";

const NODE = "node-1";
const DAY_MS = 24 * 60 * 60 * 1_000;

let dir: string;
let kube: MemoryKube;
let authority: KeyedCertificate;
let now: number;
let over: AbortController;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-door-"));
  kube = new MemoryKube();
  now = Date.now();
  over = new AbortController();
  authority = await createAuthority({ name: "trine", lifeMs: 100 * DAY_MS });
  const status = {
    addresses: [
      { type: "InternalIP", address: "10.0.0.7" },
      { type: "Hostname", address: "h" },
    ],
  };
  await kube.create(NODES, { apiVersion: "v1", kind: "Node", metadata: { name: NODE }, status });
  await kube.update(
    NODES,
    { ...(await kube.get(NODES, { name: NODE })), status },
    { subresource: "status" },
  );
});

afterEach(async () => {
  over.abort();
  await rm(dir, { recursive: true });
});

const file = (): string => join(dir, "node-door.json");

function publish(): Promise<unknown> {
  return kube.create(CONFIG_MAPS, {
    ...{ apiVersion: "v1", kind: "ConfigMap", data: { "ca.crt": authority.certificate } },
    metadata: { namespace: "kube-public", name: "trine-authority" },
  });
}

function credentials(): AsyncIterator<DoorCredentials> {
  const log = pino({ level: "silent" });
  const of = { kube, node: NODE, file: file(), log, now: () => now, everyMs: 10 };
  return clusterCredentials(of, over.signal)[Symbol.asyncIterator]();
}

/** The request of that number, once it is there. */
function request(number: number): Promise<Stored<CertificateSigningRequest>> {
  return pollUntil("a certificate is asked for", { ms: 20_000, everyMs: 5 }, async () => {
    const { items } = await kube.list(SIGNING_REQUESTS, {});
    return items[number - 1];
  });
}

/** As the control plane's signer does, for whom the request asks. */
async function sign(asked: Stored<CertificateSigningRequest>): Promise<string> {
  const read = await readRequest(Buffer.from(asked.spec.request, "base64").toString());
  const { publicKey, ...subject } = read;
  const of = { subject, usages: ["serverAuth"] as const, lifeMs: 30 * DAY_MS };
  const certificate = await certify(authority, of, publicKey);
  await answer(asked, { certificate: Buffer.from(certificate).toString("base64") });
  return subject.name;
}

async function answer(
  asked: Stored<CertificateSigningRequest>,
  status: CertificateSigningRequest["status"],
): Promise<void> {
  const object = { ...asked, status: status ?? {} };
  await kube.update(SIGNING_REQUESTS, object, { subresource: "status" });
}

async function next(from: AsyncIterator<DoorCredentials>): Promise<DoorCredentials> {
  const result = await from.next();
  if (result.done === true) throw new Error("no more credentials");
  return result.value;
}

test("a node asks for its certificate, keeps it to itself, and asks again at two thirds of its life", async () => {
  await publish();
  const source = credentials();
  const first = next(source);
  const asked = await request(1);
  expect(asked.spec).toMatchObject({
    signerName: "trine.dev/node",
    usages: ["digital signature", "server auth"],
  });
  const read = await readRequest(Buffer.from(asked.spec.request, "base64").toString());
  expect(read).toMatchObject({
    name: "trine-node:node-1",
    dnsNames: [NODE],
    addresses: ["10.0.0.7"],
  });
  expect(await sign(asked)).toBe("trine-node:node-1");
  const got = await first;
  expect(got.authority).toBe(authority.certificate);
  expect((await stat(file())).mode & 0o777).toBe(0o600);
  expect(await readIdentity(file(), NODE)).toMatchObject({ key: got.key });
  expect(await readIdentity(file(), "node-2")).toBeUndefined();

  const second = next(source);
  now += 21 * DAY_MS;
  await sign(await request(2));
  expect((await second).key).not.toBe(got.key);
});

test("a certificate that is kept serves while the API server has nothing to say, and one that was denied is asked for anew", async () => {
  await publish();
  const source = credentials();
  const first = next(source);
  await answer(await request(1), {
    conditions: [{ type: "Denied", status: "True" }] as never,
  });
  await sign(await request(2));
  const got = await first;
  over.abort();
  over = new AbortController();
  kube = new MemoryKube();
  expect(await next(credentials())).toMatchObject({ key: got.key, certificate: got.certificate });
});

test("a certificate that is over is not shown, and the next one comes when the control plane is back", async () => {
  await publish();
  const source = credentials();
  const first = next(source);
  await sign(await request(1));
  const got = await first;
  over.abort();
  over = new AbortController();
  // Longer than a certificate's life nobody has signed anything.
  now += 40 * DAY_MS;
  const after = next(credentials());
  const asked = await request(2);
  await sign(asked);
  expect((await after).certificate).not.toBe(got.certificate);
  expect((await kube.list(SIGNING_REQUESTS, {})).items).toHaveLength(2);
});

test("where the cluster has another authority the node asks for another certificate at once", async () => {
  await publish();
  const source = credentials();
  const first = next(source);
  await sign(await request(1));
  const got = await first;
  const second = next(source);
  authority = await createAuthority({ name: "trine", lifeMs: 100 * DAY_MS });
  const at = { namespace: "kube-public", name: "trine-authority" };
  const value = authority.certificate;
  await kube.patch(CONFIG_MAPS, at, [{ op: "replace", path: pointer("data", "ca.crt"), value }]);
  await sign(await request(2));
  const then = await second;
  expect(then.authority).toBe(authority.certificate);
  expect(then.key).not.toBe(got.key);
});

test("without the authority of its callers a node asks for nothing; with a new one its door learns of it", async () => {
  const source = credentials();
  const first = next(source);
  await publish();
  await sign(await request(1));
  const got = await first;
  const second = next(source);
  const path = pointer("data", "ca.crt");
  const both = `${authority.certificate}${authority.certificate}`;
  const at = { namespace: "kube-public", name: "trine-authority" };
  await kube.patch(CONFIG_MAPS, at, [{ op: "replace", path, value: both }]);
  expect(await second).toMatchObject({ key: got.key, authority: both });
});
