import { SECRETS } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { expect, test } from "vitest";
import { copyKey, keepCopyKey } from "./copy-key.ts";

const NAMESPACE = "trine-system";
const { signal } = new AbortController();

test("the key is made once, whoever is first, and stays", async () => {
  const api = new MemoryKube();
  const secrets = api.cache(SECRETS);
  expect(() => copyKey(secrets, NAMESPACE)).toThrow("has no key yet");
  const of = { api, namespace: NAMESPACE };
  await Promise.all([keepCopyKey(of, signal), keepCopyKey(of, signal)]);
  const key = copyKey(secrets, NAMESPACE);
  expect(key).toHaveLength(32);
  await keepCopyKey(of, signal);
  expect(copyKey(secrets, NAMESPACE)).toEqual(key);
});

test.each(["", "00", "no key", "zz".repeat(32)])(
  "what is no key is none, and is made one: %s",
  async (text) => {
    const api = new MemoryKube();
    const data = { key: Buffer.from(text).toString("base64") };
    await api.create(SECRETS, { metadata: { namespace: NAMESPACE, name: "trine-copy-key" }, data });
    expect(() => copyKey(api.cache(SECRETS), NAMESPACE)).toThrow("has no key yet");
    await keepCopyKey({ api, namespace: NAMESPACE }, signal);
    expect(copyKey(api.cache(SECRETS), NAMESPACE)).toHaveLength(32);
  },
);
