// trine-control itself on the real API server, with no more rights than deploy/control-plane gives it.
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { createRequest } from "@trine/certificates";
import {
  CONFIG_MAPS,
  KubeClient,
  type KubeConnection,
  NODES,
  SIGNING_REQUESTS,
  readKubeconfig,
} from "@trine/kube-client";
import { freePort } from "@trine/testkit";
import { readArguments, runControl } from "@trine/trine-control";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { ControlUnderTest } from "./control-under-test.ts";
import { scrape } from "./scrape.ts";

const DEPLOY = join(import.meta.dirname, "../deploy/control-plane");
const LONG_MS = 90_000;
const HOOKS = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"];

/** As the program's service account. */
async function asAccount({ plane }: ControlUnderTest): Promise<KubeConnection> {
  const token = await plane.kubectl.run("-n", "trine-system", "create", "token", "trine-control");
  const { server, authority } = await readKubeconfig(plane.kubeconfig);
  return {
    server,
    namespace: "trine-system",
    ...(authority !== undefined && { authority }),
    token: { text: token },
  };
}

async function asNode({ plane }: ControlUnderTest, name: string): Promise<KubeClient> {
  const user = `system:node:${name}`;
  const subject = { user, group: "system:nodes" };
  return new KubeClient(
    await readKubeconfig(await plane.authority.kubeconfig(`node-${name}`, plane.server, subject)),
  );
}

/** Who scrapes needs a token, and the right to the path. */
async function mayRead({ plane }: ControlUnderTest, url: string, ca: string): Promise<void> {
  const system = ["-n", "trine-system"];
  await plane.kubectl.run(...system, "apply", "-f", join(DEPLOY, "../monitoring/account.yaml"));
  const tokenOf = async (account: string): Promise<string> =>
    (await plane.kubectl.run(...system, "create", "token", account)).trim();
  await pollUntil("metrics are served", { ms: LONG_MS }, () =>
    scrape(url, { ca }).catch(() => undefined),
  );
  expect((await scrape(url, { ca })).code).toBe(401);
  expect((await scrape(url, { ca, token: "rubbish" })).code).toBe(401);
  const token = await tokenOf("trine-control");
  expect(await scrape(url, { ca, token })).toMatchObject({
    code: 403,
    text: expect.stringContaining('cannot get path \\"/metrics\\"') as string,
  });
  const scraper = { ca, token: await tokenOf("trine-scrape") };
  const told = await scrape(url, scraper);
  expect(told.code).toBe(200);
  expect(told.text).toMatch(/^trine_control_leading 1$/m);
  expect((await scrape(`${url}/nodes/none`, scraper)).code).toBe(404);
  expect((await scrape(`${url}/other`, scraper)).code).toBe(404);
}

export function programTests(control: () => ControlUnderTest): void {
  test("leads, serves, and signs what nodes ask for, with the rights of its account", async () => {
    const { plane, client } = control();
    const problems: unknown[] = [];
    await plane.kubectl.run("apply", "-k", DEPLOY);
    const listens = ["--health-listen", "--api-listen", "--upload-listen"];
    const metrics = `127.0.0.1:${await freePort()}`;
    const flags = listens.flatMap((flag) => [flag, "127.0.0.1:0"]);
    const config = readArguments([...flags, "--metrics-listen", metrics]);
    if (typeof config === "string") throw new Error("the program did not start");
    const stop = new AbortController();
    const logger = pino({ level: "warn" }, { write: (line) => problems.push(JSON.parse(line)) });
    const connection = await asAccount(control());
    const ran = runControl({ config, connection, logger, version: "0.1.0" }, stop.signal);
    const node = await asNode(control(), "n1");
    try {
      await client.create(NODES, { metadata: { name: "n1" } });
      const addresses = [{ type: "InternalIP", address: "10.9.8.7" }];
      await client.patch(
        NODES,
        { name: "n1" },
        [{ op: "add", path: "/status/addresses", value: addresses }],
        {
          subresource: "status",
        },
      );
      const asked = { name: "trine-node:n1", dnsNames: ["n1"], addresses: ["10.9.8.7"] };
      const ask = async (name: string, subject: typeof asked): Promise<void> => {
        const { request } = await createRequest(subject);
        const spec = {
          request: Buffer.from(request).toString("base64"),
          signerName: "trine.dev/node",
          usages: ["digital signature", "server auth"],
        };
        await node.create(SIGNING_REQUESTS, { metadata: { name }, spec });
      };
      await ask("good", asked);
      await ask("bad", { ...asked, name: "trine-control" });
      const good = await pollUntil("the node's certificate", { ms: LONG_MS }, async () => {
        const { status } = await node.get(SIGNING_REQUESTS, { name: "good" });
        return status?.certificate;
      });
      const bundle = (
        await node.get(CONFIG_MAPS, { namespace: "kube-public", name: "trine-authority" })
      ).data;
      const { publicKey } = new X509Certificate(bundle?.["ca.crt"] ?? "");
      expect(new X509Certificate(Buffer.from(good, "base64")).verify(publicKey)).toBe(true);
      const denied = await pollUntil("the other is decided", { ms: LONG_MS }, async () => {
        const { status } = await client.get(SIGNING_REQUESTS, { name: "bad" });
        return status?.conditions?.[0];
      });
      expect(denied).toMatchObject({
        type: "Denied",
        message: "the common name is not trine-node:n1",
      });
      await pollUntil("it has told where its API is", { ms: LONG_MS }, async () => {
        const names = await plane.kubectl.run(
          "get",
          "apiservices,validatingwebhookconfigurations,mutatingwebhookconfigurations",
          "-o",
          "name",
        );
        const wanted = ["v1.subresources.kubevirt.io", "virt-api-mutator", "virt-api-validator"];
        return wanted.every((name) => names.includes(name)) || undefined;
      });
      await mayRead(control(), `https://${metrics}/metrics`, bundle?.["ca.crt"] ?? "");
    } finally {
      stop.abort();
      await ran;
      node.close();
      // Nothing is left that nobody answers.
      for (const kind of HOOKS) await plane.kubectl.run("delete", kind, "--all");
      const services = ["v1", "v1alpha3"].map((version) => `${version}.subresources.kubevirt.io`);
      await plane.kubectl.run("delete", "apiservices", "--ignore-not-found", ...services);
    }
    expect(problems).toEqual([]);
  });
}
