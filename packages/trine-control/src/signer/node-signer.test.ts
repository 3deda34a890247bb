import { X509Certificate } from "node:crypto";
import { createAuthority, createRequest } from "@trine/certificates";
import { type CertificateSigningRequest, NODES, SIGNING_REQUESTS } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { expect, test, vi } from "vitest";
import { NodeSigner } from "./node-signer.ts";

// A machine that does much else is slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const never = new AbortController().signal;
const GOOD = { name: "trine-node:n1", dnsNames: ["n1"], addresses: ["10.0.0.1"] };

type Spec = CertificateSigningRequest["spec"];

async function signer() {
  const kube = new MemoryKube();
  const authority = await createAuthority({ name: "trine", lifeMs: 90 * 86_400_000 });
  await kube.create(NODES, { metadata: { name: "n1" } });
  await kube.patch(
    NODES,
    { name: "n1" },
    [
      {
        op: "add",
        path: "/status",
        value: {
          addresses: [
            { type: "InternalIP", address: "10.0.0.1" },
            { type: "InternalIP", address: "fd00:0::1" },
          ],
        },
      },
    ],
    { subresource: "status" },
  );
  const work = new NodeSigner({
    api: kube,
    requests: kube.cache(SIGNING_REQUESTS),
    authority: () => ({ active: authority, previous: [] }),
    now: () => new Date(),
    onDecided: () => undefined,
  });
  const ask = async (subject: Parameters<typeof createRequest>[0], more: Partial<Spec> = {}) => {
    const { request } = await createRequest(subject);
    const spec = {
      request: Buffer.from(request).toString("base64"),
      signerName: "trine.dev/node",
      usages: ["digital signature", "server auth"],
      username: "system:node:n1",
      groups: ["system:nodes", "system:authenticated"],
      ...more,
    };
    await kube.create(SIGNING_REQUESTS, { metadata: { name: "r" }, spec });
    // Once more than there are steps.
    for (let n = 0; n < 3; n += 1) await work.reconcile("r", never);
    const { status } = await kube.get(SIGNING_REQUESTS, { name: "r" });
    const said = status?.conditions?.map(({ type, message }) => `${type}: ${message ?? ""}`) ?? [];
    return { said, certificate: status?.certificate };
  };
  return { kube, ask, work, authority };
}

test("a node gets a certificate for its own name and addresses, and may serve with it only", async () => {
  const { ask, authority } = await signer();
  const { said, certificate } = await ask({ ...GOOD, addresses: ["10.0.0.1", "fd00::1"] });
  expect(said).toEqual(["Approved: the names and addresses are the node's own"]);
  const made = new X509Certificate(Buffer.from(certificate ?? "", "base64"));
  expect(made.subject).toBe("CN=trine-node:n1");
  expect(made.subjectAltName).toBe("DNS:n1, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1");
  expect(made.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  expect(made.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
});

const USER = { username: "eve", groups: ["system:authenticated"] };

test.each<[string, object, Partial<Spec>, string]>([
  ["a user", {}, USER, "the requester is no node"],
  ["a user with a node's name", {}, { groups: [] }, "the requester is no node"],
  ["a node that is not there", {}, { username: "system:node:n2" }, "there is no node n2"],
  ["another node's name", { name: "trine-node:n2" }, {}, "the common name is not trine-node:n1"],
  [
    "the control plane's name",
    { name: "trine-control" },
    {},
    "the common name is not trine-node:n1",
  ],
  ["a group", { organisations: ["system:masters"] }, {}, "there is an organisation"],
  ["another DNS name", { dnsNames: ["n1", "api"] }, {}, "the DNS names are not exactly n1"],
  ["no DNS name", { dnsNames: [] }, {}, "the DNS names are not exactly n1"],
  ["a foreign address", { addresses: ["10.0.0.2"] }, {}, "10.0.0.2 is no address of node n1"],
  [
    "a client's usage",
    {},
    { usages: ["server auth", "client auth"] },
    "usages are not server auth, or that and digital signature",
  ],
  ["rubbish", {}, { request: "AAAA" }, "certificate request: is not one PKCS#10 block in PEM"],
])("%s is denied", async (_, subject, more, why) => {
  const { ask } = await signer();
  const { said, certificate } = await ask({ ...GOOD, ...subject }, more);
  expect(said).toEqual([`Denied: ${why}`]);
  expect(certificate).toBeUndefined();
});

test("what somebody else approved is judged all the same", async () => {
  const { kube, work } = await signer();
  const { request } = await createRequest({ ...GOOD, name: "trine-control" });
  const spec = {
    request: Buffer.from(request).toString("base64"),
    signerName: "trine.dev/node",
    usages: ["server auth"],
    username: "system:node:n1",
    groups: ["system:nodes"],
  };
  const made = await kube.create(SIGNING_REQUESTS, { metadata: { name: "r" }, spec });
  const conditions = [{ type: "Approved", status: "True", reason: "Hand" }];
  await kube.update(
    SIGNING_REQUESTS,
    { ...made, status: { conditions } },
    { subresource: "approval" },
  );
  await work.reconcile("r", never);
  await work.reconcile("r", never);
  const { status } = await kube.get(SIGNING_REQUESTS, { name: "r" });
  expect(status?.conditions?.map(({ type }) => type)).toEqual(["Approved", "Failed"]);
  expect(status?.certificate).toBeUndefined();
});

test("requests to other signers are left alone", async () => {
  const { ask, kube } = await signer();
  await ask(GOOD, { signerName: "kubernetes.io/kubelet-serving" });
  expect(kube.writes.filter(({ verb }) => verb === "update")).toEqual([]);
});
