// The certificate of the aggregated API and of the webhooks is over while the API is served: what users are told, and who mends it.
import { X509Certificate } from "node:crypto";
import { messageOf, pollUntil } from "@trine/base";
import { createAuthority, issue, type KeyedCertificate } from "@trine/certificates";
import { SECRETS } from "@trine/kube-client";
import { apiServices, webhookConfigurations } from "@trine/virt-api";
import { beforeAll, expect, test } from "vitest";
import { machine } from "../bench/control-program.ts";
import { type ControlChildren, VERSION, secretOf } from "./control-child.ts";
import type { ControlUnderTest } from "./control-under-test.ts";

const LONG_MS = 90_000;
const OVER = /x509: certificate has expired or is not yet valid/;
const SERVING = "trine-virt-api-serving";
const AUTHORITY = "trine-authority";
const HOUR_MS = 3_600_000;
const SECOND_MS = 1_000;

interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

export function certificateTests(
  control: () => ControlUnderTest,
  children: () => ControlChildren,
): void {
  beforeAll(async () => {
    // Makes the authority and its certificates, and tells the API server of the API.
    const first = await children().start("all");
    await untilRight();
    await first.stop();
  }, 2 * LONG_MS);

  /** A user makes a machine, which the webhooks judge, and asks the aggregated API. Nothing is left of it. */
  async function asked(): Promise<{ readonly made: string; readonly told: string }> {
    const { kubectl } = control().plane;
    const { metadata, spec } = machine("judged");
    const object = { apiVersion: "kubevirt.io/v1", kind: "VirtualMachine", metadata, spec };
    const words = ["create", "--dry-run=server", "-o", "name", "-f", "-"];
    const made = await kubectl.runWith(JSON.stringify(object), ...words).catch(messageOf);
    const told = await kubectl.run("get", "--raw", VERSION).catch(messageOf);
    return { made: made.trim(), told };
  }

  const untilRight = (): Promise<unknown> =>
    pollUntil("the same commands work", { ms: LONG_MS, everyMs: 250 }, async () => {
      const { made, told } = await asked();
      return (
        (made === "virtualmachine.kubevirt.io/judged" && told.includes("gitVersion")) || undefined
      );
    });

  const field = async (name: string, key: string): Promise<string> =>
    Buffer.from((await secretOf(control(), name)).data?.[key] ?? "", "base64").toString();

  async function put(name: string, pair: KeyedCertificate): Promise<void> {
    const secret = await secretOf(control(), name);
    const data = { "tls.crt": pair.certificate, "tls.key": pair.key };
    const encoded = Object.entries(data).map(([key, text]) => [
      key,
      Buffer.from(text).toString("base64"),
    ]);
    await control().client.update(SECRETS, {
      ...secret,
      data: { ...secret.data, ...(Object.fromEntries(encoded) as typeof data) },
    });
  }

  async function authority(): Promise<KeyedCertificate> {
    return {
      certificate: await field(AUTHORITY, "tls.crt"),
      key: await field(AUTHORITY, "tls.key"),
    };
  }

  /** The serving certificate's names on one that ended a second ago. */
  async function serveOver(by: KeyedCertificate): Promise<void> {
    const { subjectAltName = "" } = new X509Certificate(await field(SERVING, "tls.crt"));
    const dnsNames = subjectAltName.split(", ").map((name) => name.replace("DNS:", ""));
    const times = { nowMs: Date.now() - 2 * SECOND_MS, lifeMs: SECOND_MS };
    const subject = { name: "trine-virt-api", dnsNames };
    await put(SERVING, await issue(by, { subject, usages: ["serverAuth"], ...times }));
  }

  /** The authority that the API server believes in ended an hour ago, and what it signed with it. */
  async function authorityOver(): Promise<void> {
    const { kubectl } = control().plane;
    const nowMs = Date.now() - 2 * HOUR_MS;
    const old = await createAuthority({ name: AUTHORITY, lifeMs: HOUR_MS, nowMs });
    const { spec } = await kubectl.get<{ spec: { service: Service } }>(
      "apiservice",
      "v1.subresources.kubevirt.io",
    );
    const { service } = spec;
    const account = `system:serviceaccount:${service.namespace}:trine-control`;
    const hooks = webhookConfigurations({ at: service, authority: old.certificate, account });
    await kubectl.apply(...apiServices({ service, authority: old.certificate }), ...hooks);
    await put(AUTHORITY, old);
    await serveOver(old);
  }

  test.each([
    { what: "its certificate is over", lapse: async () => serveOver(await authority()) },
    { what: "the authority is over, and all that it has signed", lapse: authorityOver },
  ])(
    "kubectl is told that $what, and is served again when somebody leads",
    async ({ lapse }) => {
      await lapse();
      const serves = await children().start("api");
      const refused = await pollUntil("both say why", { ms: LONG_MS, everyMs: 250 }, async () => {
        const answer = await asked();
        return OVER.test(answer.made) && !answer.told.includes("gitVersion") ? answer : undefined;
      });
      expect(refused.made).toContain(
        'failed calling webhook "virtualmachines-mutator.kubevirt.io"',
      );
      await pollUntil("the API's object says why", { ms: LONG_MS, everyMs: 250 }, async () => {
        const words = ["apiservice", "v1.subresources.kubevirt.io"];
        const { status } = await control().plane.kubectl.get<{
          status: { conditions: readonly { type: string; status: string; message: string }[] };
        }>(...words);
        const available = status.conditions.find(({ type }) => type === "Available");
        return (available?.status === "False" && OVER.test(available.message)) || undefined;
      });

      // Who serves goes on, and has the new one without being started anew.
      const leads = await children().start("controllers");
      await untilRight();
      const renewed = new X509Certificate(await field(SERVING, "tls.crt"));
      expect(renewed.validToDate.getTime()).toBeGreaterThan(Date.now());
      const by = new X509Certificate((await authority()).certificate);
      expect(renewed.verify(by.publicKey)).toBe(true);
      expect(by.validToDate.getTime()).toBeGreaterThan(Date.now());
      await leads.stop();
      await serves.stop();
    },
    4 * LONG_MS,
  );
}
