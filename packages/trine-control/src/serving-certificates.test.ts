import { SECRETS } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { expect, test } from "vitest";
import { SERVING } from "./own-certificates.ts";
import { ServingCertificates } from "./serving-certificates.ts";

const AT = { namespace: "trine-system", name: SERVING };
const never = new AbortController().signal;

function secretOf(certificate: string) {
  const of = (text: string): string => Buffer.from(text).toString("base64");
  const data = { "tls.crt": of(certificate), "tls.key": of("key"), "ca.crt": of("ca") };
  return { metadata: AT, data };
}

async function replaced(kube: MemoryKube, certificate: string): Promise<void> {
  const there = await kube.get(SECRETS, AT);
  await kube.update(SECRETS, { ...there, ...secretOf(certificate), metadata: there.metadata });
}

async function begun() {
  const kube = new MemoryKube();
  const certificates = new ServingCertificates(kube.cache(SECRETS), AT.namespace);
  await kube.create(SECRETS, secretOf("first"));
  expect(await certificates.first(never)).toMatchObject({ certificate: "first", key: "key" });
  const told: string[] = [];
  const listen = (): void => {
    certificates.onNext(({ certificate }) => told.push(certificate));
  };
  return { kube, certificates, told, listen };
}

test("a certificate that is made before anybody asks for the next is not lost", async () => {
  const { kube, told, listen } = await begun();
  await replaced(kube, "second");
  listen();
  expect(told).toEqual(["second"]);
  await replaced(kube, "third");
  expect(told).toEqual(["second", "third"]);
});

test("the one that is served is not told again, nor what comes after the end", async () => {
  const { kube, certificates, told, listen } = await begun();
  listen();
  await replaced(kube, "first");
  expect(told).toEqual([]);
  certificates.close();
  await replaced(kube, "second");
  expect(told).toEqual([]);
});
