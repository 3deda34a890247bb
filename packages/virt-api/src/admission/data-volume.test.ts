import { COPY_GRANT, DATA_SOURCES, type KubeApi, readGrant } from "@trine/kube-client";
import type { DataVolume } from "@trine/kube-types";
import { expect, test } from "vitest";
import { SYSTEM, testDeps } from "../testing.ts";
import { serveHook } from "./serve-hook.ts";

const PATH = "/datavolumes-mutate";
const FAR = { pvc: { namespace: "golden", name: "debian" } };
const SNAPSHOT = { snapshot: { namespace: "golden", name: "debian" } };
const RESOURCES = { requests: { storage: "1Gi" } };

interface Said {
  readonly allowed: boolean;
  readonly status?: { message: string; code: number; details?: { causes: { field?: string }[] } };
  readonly patch?: string;
}

type Spec = Pick<DataVolume["spec"], "source" | "sourceRef">;

const volume = (spec: Spec, annotations?: Readonly<Record<string, string>>): DataVolume => ({
  apiVersion: "cdi.kubevirt.io/v1beta1",
  kind: "DataVolume",
  metadata: { name: "root", namespace: "shop", ...(annotations && { annotations }) },
  spec: { ...spec, storage: { resources: RESOURCES } },
});

interface Asked {
  readonly object: DataVolume;
  readonly oldObject?: DataVolume;
  readonly user?: string;
  /** What its user may create in the namespace golden. */
  readonly may?: "datavolumes" | "pods";
}

async function ask({ object, oldObject, user = "alice", may }: Asked) {
  const deps = await testDeps();
  const source = { spec: { source: FAR } };
  for (const [namespace, name] of [
    ["golden", "debian"],
    ["shop", "own"],
  ] as const) {
    await deps.kube.create(DATA_SOURCES, { metadata: { namespace, name }, ...source });
  }
  const reviews: { user: string; groups: string[]; resourceAttributes: Record<string, string> }[] =
    [];
  const create = (_: unknown, review: { spec?: (typeof reviews)[number] }) => {
    if (review.spec !== undefined) reviews.push(review.spec);
    const is = review.spec?.resourceAttributes;
    const allowed = is?.["namespace"] === "golden" && is["resource"] === may;
    return Promise.resolve({ ...review, status: { allowed } });
  };
  const kube = { get: deps.kube.get.bind(deps.kube), create } as unknown as KubeApi;
  const request = {
    uid: "review-1",
    kind: { group: "cdi.kubevirt.io", version: "v1beta1", kind: "DataVolume" },
    resource: { group: "cdi.kubevirt.io", version: "v1beta1", resource: "datavolumes" },
    name: "root",
    namespace: "shop",
    operation: oldObject === undefined ? "CREATE" : "UPDATE",
    userInfo: { username: user, uid: "u1", groups: ["staff"], extra: { scopes: ["all"] } },
    object,
    oldObject: oldObject ?? null,
  };
  const body = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request };
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const answer = await serveHook({ ...deps, kube }, PATH, new URLSearchParams(), bytes);
  const said = (JSON.parse(String(answer.body)) as { response: Said }).response;
  const patch = Buffer.from(said.patch ?? "W10=", "base64").toString();
  const [first] = JSON.parse(patch) as { value: Record<string, string> }[];
  const grant = first === undefined ? undefined : first.value[COPY_GRANT];
  return {
    said,
    reviews,
    annotations: first?.value,
    granted: readGrant(grant, "shop", deps.copyKey()),
  };
}

const OWN = { pvc: { namespace: "shop", name: "root" } };
const byRef = (name: string, namespace?: string): Spec => ({
  sourceRef: { kind: "DataSource", name, ...(namespace !== undefined && { namespace }) },
});

test.each<[string, Spec, "datavolumes" | "pods"]>([
  ["itself", { source: FAR }, "datavolumes"],
  ["itself, who may make pods there", { source: FAR }, "pods"],
  ["by a DataSource there", byRef("debian", "golden"), "datavolumes"],
  ["by a DataSource of its own namespace", byRef("own"), "datavolumes"],
])("who may copy the claim is granted just that: named %s", async (_, spec, may) => {
  const { said, granted, annotations } = await ask({ object: volume(spec, { a: "b" }), may });
  expect(said.allowed).toBe(true);
  expect(granted).toEqual(FAR.pvc);
  expect(annotations).toMatchObject({ a: "b" });
});

test("the rights are asked of its maker as the API server names them", async () => {
  const { reviews } = await ask({ object: volume({ source: FAR }) });
  expect(reviews).toEqual([
    {
      ...{ user: "alice", uid: "u1", groups: ["staff"], extra: { scopes: ["all"] } },
      resourceAttributes: {
        ...{ namespace: "golden", name: "debian", verb: "create", group: "cdi.kubevirt.io" },
        ...{ resource: "datavolumes", subresource: "source" },
      },
    },
    expect.objectContaining({
      resourceAttributes: expect.objectContaining({ group: "", resource: "pods" }) as object,
    }),
  ]);
});

const NO_RIGHT = "User alice has insufficient permissions in clone source namespace golden";

test.each<[string, Spec, string, string]>([
  ["a claim", { source: FAR }, "spec.source.pvc.namespace", NO_RIGHT],
  ["a snapshot", { source: SNAPSHOT }, "spec.source.snapshot.namespace", NO_RIGHT],
  ["a DataSource there", byRef("debian", "golden"), "spec.sourceRef", NO_RIGHT],
  ["a DataSource here", byRef("own"), "spec.sourceRef", NO_RIGHT],
  ["none there", byRef("x", "golden"), "spec.sourceRef", "DataSource golden/x is not there"],
])("who may not is refused at the field: %s", async (_, spec, field, message) => {
  const { said } = await ask({ object: volume(spec) });
  expect(said).toMatchObject({ allowed: false, status: { code: 422, message } });
  expect(said.status?.details?.causes).toEqual([expect.objectContaining({ field, message })]);
});

test.each<[string, Spec]>([
  ["of its own namespace", { source: OWN }],
  ["of nobody", { source: { blank: {} } }],
  ["of a DataSource here that comes later", byRef("later")],
])("what needs no right has no grant, and keeps none that its maker wrote: %s", async (_, spec) => {
  const { said, reviews, annotations } = await ask({
    object: volume(spec, { a: "b", [COPY_GRANT]: "golden/debian:x" }),
  });
  expect(said.allowed).toBe(true);
  expect(annotations).toEqual({ a: "b" });
  expect(reviews).toEqual([]);
});

test("a reference of no name is left to the hook that judges it", async () => {
  const { said, annotations } = await ask({ object: volume(byRef("", "golden")) });
  expect(said).toMatchObject({ allowed: true });
  expect(annotations).toBeUndefined();
});

test("the control plane has looked at a claim that it names itself", async () => {
  const named = await ask({ object: volume({ source: FAR }), user: SYSTEM });
  expect(named.granted).toEqual(FAR.pvc);
  expect(named.reviews).toEqual([]);
});

// Its own rights reach everywhere: that they allow it says nothing.
test.each<[string, Spec, "datavolumes" | "pods" | undefined]>([
  ["here", byRef("own"), "pods"],
  ["here, which it might copy itself", byRef("own"), "datavolumes"],
  ["there", byRef("debian", "golden"), "pods"],
  ["here, by no right", byRef("own"), undefined],
])("it has not looked at what a DataSource says by now: one %s", async (_, spec, may) => {
  const { said, reviews, granted } = await ask({
    object: volume(spec),
    user: SYSTEM,
    ...(may && { may }),
  });
  const message = "the DataSource says golden/debian by now: it is read anew";
  expect(said).toMatchObject({ allowed: false, status: { code: 422, message } });
  expect(said.status?.details?.causes).toEqual([
    expect.objectContaining({ field: "spec.sourceRef", message }),
  ]);
  expect(granted).toBeUndefined();
  expect(reviews).toEqual([]);
});

test.each([
  ["put in", { a: "b" }, { a: "b", [COPY_GRANT]: "forged" }, { a: "b" }],
  ["changed", { [COPY_GRANT]: "real" }, { [COPY_GRANT]: "forged" }, { [COPY_GRANT]: "real" }],
  ["taken away", { [COPY_GRANT]: "real" }, {}, { [COPY_GRANT]: "real" }],
  ["left alone", { [COPY_GRANT]: "real" }, { [COPY_GRANT]: "real", a: "b" }, undefined],
])("nobody changes a grant: %s", async (_, before, after, expected) => {
  const { said, annotations } = await ask({
    object: volume({ source: FAR }, after),
    oldObject: volume({ source: FAR }, before),
    may: "datavolumes",
  });
  expect(said.allowed).toBe(true);
  expect(annotations).toEqual(expected);
});
