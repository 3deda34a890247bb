// What dies while a machine starts or runs: the control plane, trined, the API server. Nothing is lost, nothing is there twice.
import { X509Certificate, randomInt } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil, sleep } from "@trine/base";
import { type KeyedCertificate, type Subject, issue } from "@trine/certificates";
import type { KubeCluster } from "@trine/testkit";
import { expect, test } from "vitest";
import {
  type Instance,
  LONG_MS,
  type MachinesUnderTest,
  READY,
  machine,
} from "./machines-under-test.ts";
import { SOAK } from "./node-under-test.ts";

const ROUNDS = SOAK ? 20 : 1;
/** Within it the pod is made, and the machine. */
const START_MS = 6_000;

/** One instance, one pod, both as they were made first. */
async function once(at: MachinesUnderTest, name: string): Promise<{ vmi: string; pod: string }> {
  const { metadata } = await at.instance(name);
  const pod = await at.pod(name);
  const made = (await at.events(name))
    .filter(({ reason }) => reason === "SuccessfulCreate")
    .map(({ message }) => message)
    .filter((message) => message.includes("pod"));
  expect(new Set(made).size).toBeLessThanOrEqual(1);
  return { vmi: metadata.uid ?? "", pod: pod.metadata.uid ?? "" };
}

export function faultTests(at: () => MachinesUnderTest): void {
  test.each([
    {
      who: "the control plane",
      name: "killed",
      isBegun: () => true,
      kill: async ({ control }: KubeCluster): Promise<void> => {
        await control.kill();
        await control.startProgram();
      },
    },
    {
      who: "trined",
      name: "orphan",
      isBegun: ({ status }: Instance) => status?.nodeName !== undefined,
      kill: async ({ node }: KubeCluster): Promise<void> => {
        await node.killTrined();
        await node.startTrined();
      },
    },
  ])(
    "$who is killed while a machine starts, and the machine is there once",
    async ({ name: word, isBegun, kill }) => {
      for (let round = 0; round < ROUNDS; round++) {
        const name = `${word}-${round}`;
        await at().create(machine(name, "Always"));
        await at().untilInstance(name, "on its way", isBegun);
        // The moment is the test's, not a condition that is waited for.
        await sleep(randomInt(START_MS));
        await kill(at().cluster);
        await at().booted(name);
        await at().untilShown(name, "Running");
        await once(at(), name);
        await at().delete("vm", name);
        expect(await at().pods(name)).toEqual([]);
      }
    },
    ROUNDS * 2 * LONG_MS,
  );

  test(
    "a machine runs on while the API server is away, and is told of when it is back",
    async () => {
      const { plane } = at().cluster;
      await at().create(machine("stays", "Always"));
      await at().booted("stays");
      const before = await once(at(), "stays");
      const console_ = await at().console("stays");
      console_.send("echo $((20 + 3))-before\n");
      await console_.until("23-before");
      await plane.endApi();
      await console_.closed;
      await plane.startApi();
      await at().cluster.control.untilServing();
      const again = await at().console("stays");
      again.send("echo $((20 + 4))-after\n");
      await again.until("24-after");
      expect(await once(at(), "stays")).toEqual(before);
      expect((await at().log("stays")).match(new RegExp(READY, "g"))).toHaveLength(1);
      // What was asked of it meanwhile would not be lost either: the control plane hears and acts again.
      expect((await at().virtctl.stop("stays")).code).toBe(202);
      await at().untilShown("stays", "Stopped");
      await at().delete("vm", "stays");
    },
    3 * LONG_MS,
  );

  test(
    "a machine runs on when every certificate is over, and is reached again when the control plane makes new ones",
    async () => {
      const { control, node, nodeName } = at().cluster;
      await at().create(machine("lapsed", "Always"));
      await at().booted("lapsed");
      const before = await once(at(), "lapsed");
      // Nobody was there to renew them for longer than their lives.
      await control.kill();
      await node.killTrined();
      const kept = join(node.rootDir, "node-door.json");
      const identity = JSON.parse(await readFile(kept, "utf8")) as KeyedCertificate;
      const signer = await pairOf(at(), "trine-authority");
      const over = { nowMs: Date.now() - 2_000, lifeMs: 1_000 };
      const lapse = (pair: KeyedCertificate, usage: "serverAuth" | "clientAuth") =>
        issue(signer, { subject: subjectOf(pair), usages: [usage], ...over });
      const lapsed = await lapse(identity, "serverAuth");
      await writeFile(kept, JSON.stringify({ ...identity, ...lapsed }));
      for (const [name, usage] of OWN) {
        await putPair(at(), name, await lapse(await pairOf(at(), name), usage));
      }
      await node.startTrined();
      await control.startProgram();

      const renewed = await pollUntil("the node has another", { ms: LONG_MS }, async () => {
        const { certificate } = JSON.parse(await readFile(kept, "utf8")) as KeyedCertificate;
        return certificate === lapsed.certificate ? undefined : new X509Certificate(certificate);
      });
      expect(renewed.subject).toContain(`CN=trine-node:${nodeName}`);
      await pollUntil("the API is believed in again", { ms: LONG_MS, everyMs: 500 }, () =>
        at()
          .kubectl.run("get", "--raw", VERSION)
          .catch(() => undefined),
      );
      const console_ = await at().console("lapsed");
      console_.send("echo $((20 + 5))-renewed\n");
      await console_.until("25-renewed");
      console_.end();
      expect(await once(at(), "lapsed")).toEqual(before);
      // The node is heard again too: what is asked of the machine is seen.
      expect((await at().virtctl.stop("lapsed")).code).toBe(202);
      await at().untilShown("lapsed", "Stopped");
      await at().delete("vm", "lapsed");
    },
    4 * LONG_MS,
  );
}

const VERSION = "/apis/subresources.kubevirt.io/v1/version";
/** The control plane's own, and what each is for. */
const OWN = [
  ["trine-virt-api-serving", "serverAuth"],
  ["trine-virt-api-client", "clientAuth"],
  ["trine-control-client", "clientAuth"],
] as const;

type Encoded = Readonly<Record<string, string>>;

async function pairOf({ kubectl }: MachinesUnderTest, name: string): Promise<KeyedCertificate> {
  const { data } = await kubectl.get<{ data: Encoded }>("-n", "trine-system", "secret", name);
  const text = (key: string): string => Buffer.from(data[key] ?? "", "base64").toString();
  return { certificate: text("tls.crt"), key: text("tls.key") };
}

async function putPair(
  { kubectl }: MachinesUnderTest,
  name: string,
  { certificate, key }: KeyedCertificate,
): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const data = { "tls.crt": base64(certificate), "tls.key": base64(key) };
  const patch = JSON.stringify({ data });
  await kubectl.run("-n", "trine-system", "patch", "secret", name, "--type=merge", "-p", patch);
}

/** Whom a certificate is for. */
function subjectOf({ certificate }: KeyedCertificate): Subject {
  const { subject, subjectAltName = "" } = new X509Certificate(certificate);
  const names = (kind: string): string[] =>
    subjectAltName
      .split(", ")
      .filter((each) => each.startsWith(kind))
      .map((each) => each.slice(kind.length));
  return {
    name: /^CN=(.*)$/m.exec(subject)?.[1] ?? "",
    dnsNames: names("DNS:"),
    addresses: names("IP Address:"),
  };
}
