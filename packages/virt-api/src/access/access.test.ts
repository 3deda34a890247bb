import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { Authorization } from "./authorization.ts";
import { BoundedCache } from "./bounded-cache.ts";
import { type FrontProxySettings, isFrontProxy, userOfHeaders } from "./front-proxy.ts";
import { readFrontProxySettings } from "./front-proxy-settings.ts";
import type { Reviewer } from "./reviewer.ts";
import { CONFIG_MAPS } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";

const SETTINGS: FrontProxySettings = {
  authority: "PEM",
  allowedNames: ["front"],
  userHeaders: ["X-Remote-User"],
  uidHeaders: [],
  groupHeaders: ["X-Remote-Group"],
  extraPrefixes: ["X-Remote-Extra-"],
};

test.each([
  ["the front proxy", { authorized: true, commonName: "front" }, true],
  ["another name of its authority", { authorized: true, commonName: "other" }, false],
  ["a certificate of another authority", { authorized: false, commonName: "front" }, false],
  ["no certificate", { authorized: false, commonName: undefined }, false],
])("%s may say who asks: %s", (_, peer, may) => {
  expect(isFrontProxy(SETTINGS, peer)).toBe(may);
});

test("without allowed names its authority is enough, a certificate without name is not", () => {
  const any = { ...SETTINGS, allowedNames: [] };
  expect(isFrontProxy(any, { authorized: true, commonName: "other" })).toBe(true);
  expect(isFrontProxy(any, { authorized: true, commonName: undefined })).toBe(false);
});

test("a user is read with all groups and extras", () => {
  const headers = {
    "x-remote-user": ["alice"],
    "x-remote-group": ["a", "b"],
    "x-remote-extra-example.org%2fscopes": ["x", "y"],
    "x-remote-extra-__proto__": ["z"],
    "x-other": ["no"],
  };
  const user = userOfHeaders(SETTINGS, headers);
  expect(user).toMatchObject({ name: "alice", groups: ["a", "b"] });
  expect(Object.entries(user?.extra ?? {})).toEqual([
    ["example.org/scopes", ["x", "y"]],
    ["__proto__", ["z"]],
  ]);
  expect(userOfHeaders(SETTINGS, { "x-remote-group": ["system:masters"] })).toBeUndefined();
});

test("settings are read as the API server writes them, and refused where aggregation is off", async () => {
  const kube = new MemoryKube();
  const metadata = { namespace: "kube-system", name: "extension-apiserver-authentication" };
  const made = await kube.create(CONFIG_MAPS, { metadata, data: {} });
  await expect(readFrontProxySettings(kube)).rejects.toThrow("without aggregation");
  const data = {
    "requestheader-client-ca-file": "PEM",
    "requestheader-allowed-names": '["front"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
  };
  const put = await kube.update(CONFIG_MAPS, { ...made, data });
  expect(await readFrontProxySettings(kube)).toEqual(SETTINGS);
  const broken = { ...data, "requestheader-allowed-names": "front" };
  await kube.update(CONFIG_MAPS, { ...put, data: broken });
  await expect(readFrontProxySettings(kube)).rejects.toThrow("requestheader-allowed-names");
});

const USER = { name: "alice", groups: ["g"], extra: {} };
const START = {
  verb: "update",
  group: "subresources.kubevirt.io",
  version: "v1",
  namespace: "ns",
  resource: "virtualmachines",
  subresource: "start",
  name: "vm",
};

function reviewer(answer: () => object): Reviewer & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    request: (_, path, { body }) => {
      asked.push(`${path} ${body}`);
      return Promise.resolve().then(() => answer() as Readonly<Record<string, unknown>>);
    },
  };
}

test("a right is asked for once in a while", async () => {
  let now = 0;
  const review = reviewer(() => ({ status: { allowed: true } }));
  const authorization = new Authorization(review, () => now);
  await authorization.require(USER, START);
  await authorization.require(USER, START);
  expect(review.asked).toHaveLength(1);
  await authorization.require({ ...USER, groups: [] }, START);
  expect(review.asked).toHaveLength(2);
  now = 5_001;
  await authorization.require(USER, START);
  expect(review.asked).toHaveLength(3);
});

test.each([
  ["not allowed", { allowed: false, reason: "no rule" }, 'in the namespace "ns": no rule'],
  ["allowed and denied", { allowed: true, denied: true }, 'User "alice" cannot update resource'],
])("who is %s is refused in Kubernetes' words", async (_, status, said) => {
  const authorization = new Authorization(reviewer(() => ({ status })));
  await expect(authorization.require(USER, START)).rejects.toThrow(said);
});

test("nobody passes while the API server does not answer, and the failure is not kept", async () => {
  let away = true;
  const review = reviewer(() => {
    if (away) throw new TrineError("unavailable", "away");
    return { status: { allowed: true } };
  });
  const authorization = new Authorization(review);
  await expect(authorization.require(USER, START)).rejects.toThrow(
    "whether alice may is not known",
  );
  away = false;
  await authorization.require(USER, START);
});

test("a cache keeps so many, and drops the oldest", async () => {
  const cache = new BoundedCache<number>(2, () => 0);
  const get = (key: string): Promise<number> =>
    cache.get(
      key,
      () => 10,
      () => Promise.resolve(1),
    );
  for (const key of ["a", "b", "c"]) await get(key);
  expect(cache.size).toBe(2);
});
