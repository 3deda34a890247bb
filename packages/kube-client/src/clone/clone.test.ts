import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { MemoryKube } from "../testing.ts";
import { accountUser, mayClone } from "./clone-rights.ts";
import { DATA_SOURCES, foreignSource, resolveSource } from "./clone-source.ts";
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
  expect(foreignSource(found.source, "shop")?.namespace).toBe(from);
});

test("a DataSource that is not there is told, one that cannot be read is a failure", async () => {
  const sourceRef = { kind: "DataSource", namespace: "golden", name: "debian" };
  const kube = new MemoryKube();
  expect(await resolveSource(kube, { sourceRef }, "shop", signal)).toEqual({
    source: undefined,
    trouble: { namespace: "golden", message: "DataSource golden/debian is not there" },
  });
  const away = { get: () => Promise.reject(new TrineError("unavailable", "away")) };
  await expect(resolveSource(away, { sourceRef }, "shop", signal)).rejects.toThrow("away");
});

test.each([
  ["newest", { source: FAR }],
  ["third", "DataSource golden/third: DataSource reference chain exceeds maximum depth of 1"],
  ["itself", "DataSource golden/itself: DataSource cannot self-reference"],
  ["far", "DataSource golden/far: DataSource cannot reference a DataSource in another namespace"],
  ["lost", "DataSource golden/lost: DataSource golden/x is not there"],
])(
  "a DataSource stands for the one that it names, once and of its namespace: %s",
  async (...row) => {
    const [name, expected] = row;
    const kube = new MemoryKube();
    const naming = (named: string, namespace = "golden") => ({
      dataSource: { namespace, name: named },
    });
    for (const [namespace, of, source] of [
      ["golden", "stable", FAR],
      ["vault", "stable", FAR],
      ["golden", "newest", naming("stable")],
      ["golden", "third", naming("newest")],
      ["golden", "itself", naming("itself")],
      ["golden", "far", naming("stable", "vault")],
      ["golden", "lost", naming("x")],
    ] as const) {
      await kube.create(DATA_SOURCES, { metadata: { namespace, name: of }, spec: { source } });
    }
    const sourceRef = { kind: "DataSource", namespace: "golden", name };
    const found = await resolveSource(kube, { sourceRef }, "shop", signal);
    expect(found).toEqual(
      typeof expected === "string"
        ? { source: undefined, trouble: { namespace: "golden", message: expected } }
        : expected,
    );
  },
);

const YES = { allowed: true };

test.each([
  ["pvc", ["datavolumes/source"], YES, true],
  ["pvc", ["pods"], YES, true],
  ["pvc", ["pods"], { allowed: true, denied: true }, false],
  ["pvc", ["secrets"], YES, false],
  ["snapshot", ["datavolumes/source"], YES, true],
  ["snapshot", ["pods"], YES, false],
  ["snapshot", ["pvcs"], YES, false],
  ["snapshot", ["pods", "pvcs"], YES, true],
] as const)("who wants a copy of a %s and may create %s, answered %o: %s", async (...row) => {
  const [kind, what, status, expected] = row;
  const asked: unknown[] = [];
  const create = (_: unknown, review: { spec?: { resourceAttributes?: object } }) => {
    asked.push(review.spec);
    const { resource = "", subresource } = review.spec?.resourceAttributes as Record<
      string,
      string
    >;
    const is = subresource === undefined ? resource : `${resource}/${subresource}`;
    const isMeant = what.some((each) => each === is);
    return Promise.resolve({ ...review, status: isMeant ? status : { allowed: false } });
  };
  const api = { create } as unknown as MemoryKube;
  const from = { kind, namespace: "golden", name: "debian" };
  expect(await mayClone(api, accountUser("shop", "web"), from, signal)).toBe(expected);
  expect(asked[0]).toMatchObject({
    user: "system:serviceaccount:shop:web",
    resourceAttributes: {
      ...{ namespace: "golden", name: "debian" },
      ...{ verb: "create", group: "cdi.kubevirt.io" },
    },
  });
});
