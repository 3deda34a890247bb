import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { MemoryKube } from "../testing.ts";
import { accountUser, mayClone } from "./clone-rights.ts";
import { DATA_SOURCES, foreignNamespace, resolveSource } from "./clone-source.ts";
import { grantCopy, readGrant } from "./copy-grant.ts";

const { signal } = new AbortController();
const KEY = Buffer.alloc(32, 1);
const FROM = { namespace: "golden", name: "debian-13.1" };
const GRANT = grantCopy(FROM, "shop", KEY);

test.each([
  ["as it was given", GRANT, "shop", KEY, FROM],
  ["to another namespace", GRANT, "other", KEY, undefined],
  ["by another key", GRANT, "shop", Buffer.alloc(32, 2), undefined],
  ["of another claim", GRANT.replace("debian-13.1", "root"), "shop", KEY, undefined],
  ["of another namespace", GRANT.replace("golden", "vault"), "shop", KEY, undefined],
  ["cut", GRANT.slice(0, -4), "shop", KEY, undefined],
  ["none", undefined, "shop", KEY, undefined],
  ["empty", "", "shop", KEY, undefined],
  ["words", "golden/debian-13.1:true", "shop", KEY, undefined],
])("a grant is of one copy by one key: %s", (_, grant, to, key, expected) => {
  expect(readGrant(grant, to, key)).toEqual(expected);
});

const FAR = { pvc: { namespace: "golden", name: "debian" } };

test.each([
  [{ source: FAR }, FAR, "golden"],
  [{ source: { blank: {} } }, { blank: {} }, undefined],
  [{ sourceRef: { kind: "DataSource", namespace: "golden", name: "debian" } }, FAR, "golden"],
  [{ sourceRef: { kind: "DataSource", name: "own" } }, FAR, "golden"],
])("what a volume is filled with: %o", async (spec, source, from) => {
  const kube = new MemoryKube();
  for (const [namespace, name] of [
    ["golden", "debian"],
    ["shop", "own"],
  ] as const) {
    const status = { source: { pvc: { namespace: "vault", name: "keys" } } };
    await kube.create(DATA_SOURCES, {
      metadata: { namespace, name },
      spec: { source: FAR },
      status,
    });
  }
  const found = await resolveSource(kube, spec, "shop", signal);
  expect(found).toEqual({ source });
  expect(foreignNamespace(found.source, "shop")).toBe(from);
});

test("a DataSource that is not there is told, one that cannot be read is a failure", async () => {
  const sourceRef = { kind: "DataSource", namespace: "golden", name: "debian" };
  const kube = new MemoryKube();
  expect(await resolveSource(kube, { sourceRef }, "shop", signal)).toEqual({
    source: undefined,
    missing: "golden/debian",
  });
  const away = { get: () => Promise.reject(new TrineError("unavailable", "away")) };
  await expect(resolveSource(away, { sourceRef }, "shop", signal)).rejects.toThrow("away");
});

test.each([
  ["datavolumes/source", { allowed: true }, true],
  ["pods", { allowed: true }, true],
  ["pods", { allowed: true, denied: true }, false],
  ["secrets", { allowed: true }, false],
])("who may create %s, answered %o, may copy: %s", async (what, status, expected) => {
  const asked: unknown[] = [];
  const create = (_: unknown, review: { spec?: { resourceAttributes?: object } }) => {
    asked.push(review.spec);
    const { resource = "", subresource } = review.spec?.resourceAttributes as Record<
      string,
      string
    >;
    const is = subresource === undefined ? resource : `${resource}/${subresource}`;
    return Promise.resolve({ ...review, status: is === what ? status : { allowed: false } });
  };
  const api = { create } as unknown as MemoryKube;
  expect(await mayClone(api, accountUser("shop", "web"), "golden", signal)).toBe(expected);
  expect(asked[0]).toMatchObject({
    user: "system:serviceaccount:shop:web",
    resourceAttributes: { namespace: "golden", verb: "create", group: "cdi.kubevirt.io" },
  });
});
