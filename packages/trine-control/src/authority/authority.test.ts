import { X509Certificate } from "node:crypto";
import { CONFIG_MAPS, SECRETS } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { expect, test, vi } from "vitest";
import { AuthorityKeeper } from "./authority-keeper.ts";
import { AUTHORITY_LIFE_MS, type AuthorityState, OVERLAP_MS } from "./authority-state.ts";
import { keepCertificate, readKept } from "./kept-certificate.ts";

// A machine that does much else is slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const NAMESPACE = "trine-system";
const PUBLIC = { namespace: "kube-public", name: "trine-authority" };
const never = new AbortController().signal;

function keeperAt(kube: MemoryKube) {
  const clock = { now: Date.now() };
  const deps = { api: kube, namespace: NAMESPACE, now: (): number => clock.now };
  const bundle = async (): Promise<number> => {
    const { data } = await kube.get(CONFIG_MAPS, PUBLIC);
    return data?.["ca.crt"]?.match(/BEGIN CERTIFICATE/g)?.length ?? 0;
  };
  return { keeper: new AuthorityKeeper(deps), deps, clock, bundle };
}

test("the authority is made once, whoever asks, and published", async () => {
  const kube = new MemoryKube();
  const [a, b] = [keeperAt(kube), keeperAt(kube)];
  const [first, second] = await Promise.all([
    a.keeper.keep(never),
    b.keeper.keep(never).catch(() => b.keeper.keep(never)),
  ]);
  expect(second.active.certificate).toBe(first.active.certificate);
  const { data } = await kube.get(CONFIG_MAPS, PUBLIC);
  expect(data).toEqual({ "ca.crt": first.active.certificate });
  const before = kube.writes.length;
  await a.keeper.keep(never);
  expect(kube.writes).toHaveLength(before);
});

test("the next authority is believed in before it signs, and the old one until it ends", async () => {
  const kube = new MemoryKube();
  const { keeper, clock, bundle } = keeperAt(kube);
  const first = await keeper.keep(never);
  const born = clock.now;
  clock.now = born + AUTHORITY_LIFE_MS * 0.7;
  const prepared = await keeper.keep(never);
  expect(prepared.active.certificate).toBe(first.active.certificate);
  expect(await bundle()).toBe(2);
  clock.now += OVERLAP_MS;
  const after = await keeper.keep(never);
  expect(after.active.certificate).toBe(prepared.next?.certificate);
  expect(after.previous).toEqual([first.active.certificate]);
  expect(await bundle()).toBe(2);
  clock.now = born + AUTHORITY_LIFE_MS + 1;
  expect((await keeper.keep(never)).previous).toEqual([]);
  expect(await bundle()).toBe(1);
});

test("after an outage longer than any certificate's life all of them are new at once", async () => {
  const kube = new MemoryKube();
  const { keeper, deps, clock, bundle } = keeperAt(kube);
  const first = await keeper.keep(never);
  await keepCertificate(deps, SERVING, first, never);
  clock.now += AUTHORITY_LIFE_MS + 400 * 86_400_000;
  const state = await keeper.keep(never);
  await keepCertificate(deps, SERVING, state, never);
  expect(state.previous).toEqual([]);
  expect(await bundle()).toBe(1);
  for (const certificate of [new X509Certificate(state.active.certificate), await serving(kube)]) {
    expect(certificate.validFromDate.getTime()).toBeLessThanOrEqual(clock.now);
    expect(certificate.validToDate.getTime()).toBeGreaterThan(clock.now);
    expect(certificate.verify(new X509Certificate(state.active.certificate).publicKey)).toBe(true);
  }
});

test("a rotation that dies between two writes goes on", async () => {
  const kube = new MemoryKube();
  const { keeper, clock, bundle } = keeperAt(kube);
  await keeper.keep(never);
  clock.now += AUTHORITY_LIFE_MS * 0.7;
  kube.hooks.after = () => {
    throw new Error("killed");
  };
  await expect(keeper.keep(never)).rejects.toThrow("killed");
  delete kube.hooks.after;
  expect(await bundle()).toBe(1);
  const { next } = await keeper.keep(never);
  expect(next).toBeDefined();
  expect(await bundle()).toBe(2);
});

const SERVING = {
  name: "serving",
  subject: { name: "api", dnsNames: ["api.ns.svc"] },
  usage: "serverAuth",
} as const;

async function serving(kube: MemoryKube): Promise<X509Certificate> {
  const secret = await kube.get(SECRETS, { namespace: NAMESPACE, name: "serving" });
  return new X509Certificate(readKept(secret)?.certificate ?? "");
}

test("a certificate is kept: renewed in time, for other names, after what somebody did, by the new authority", async () => {
  const kube = new MemoryKube();
  const { keeper, deps, clock } = keeperAt(kube);
  let state: AuthorityState = await keeper.keep(never);
  const keep = (kept = SERVING as Parameters<typeof keepCertificate>[1]): Promise<void> =>
    keepCertificate(deps, kept, state, never);
  await keep();
  const first = await serving(kube);
  await keep();
  expect((await serving(kube)).serialNumber).toBe(first.serialNumber);
  const more = { ...SERVING, subject: { ...SERVING.subject, dnsNames: ["other.ns.svc"] } };
  await keep(more);
  expect((await serving(kube)).checkHost("other.ns.svc")).toBe("other.ns.svc");
  const secret = await kube.get(SECRETS, { namespace: NAMESPACE, name: "serving" });
  await kube.update(SECRETS, { ...secret, data: { ...secret.data, "tls.crt": "AAAA" } });
  await keep();
  expect((await serving(kube)).checkHost("api.ns.svc")).toBe("api.ns.svc");
  clock.now += 61 * 86_400_000;
  const old = (await serving(kube)).serialNumber;
  await keep();
  expect((await serving(kube)).serialNumber).not.toBe(old);
  clock.now += AUTHORITY_LIFE_MS * 0.7;
  await keeper.keep(never);
  clock.now += OVERLAP_MS;
  state = await keeper.keep(never);
  await keep();
  const { publicKey } = new X509Certificate(state.active.certificate);
  expect((await serving(kube)).verify(publicKey)).toBe(true);
});
