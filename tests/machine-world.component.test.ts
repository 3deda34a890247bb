// A machine on a network of both families, beside a container, with an internet behind its node.
import { text } from "node:stream/consumers";
import { withDeadline } from "@trine/base";
import { TrineNode, busyboxImage, tinyGuestImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MadeUpWorld, PODS6, ROUTER, SERVER, SERVICE } from "./made-up-world.ts";
import { PodOfMany } from "./mixed-pod.ts";
import { BOOT_MS, READY } from "./node-under-test.ts";

const STEP_MS = 60_000;
const CALL = "wget -qO- http://";
/** The seed's own script, as cloud-init runs it. */
const SEED =
  "touch /etc/hosts; mkdir -p /seed; mount -t iso9660 -o ro /dev/vdb /seed; sh /seed/vendor-data";

let node: TrineNode;
let world: MadeUpWorld;
let busybox: string;
let tiny: string;
let other: RunningPod;

beforeAll(async () => {
  const images = [await tinyGuestImage(), await busyboxImage()] as const;
  [tiny, busybox] = [images[0].name, images[1].name];
  node = await TrineNode.start({ version: "2.4" });
  for (const image of images) await node.containerd.importImage(image);
  world = await MadeUpWorld.make(node);
  other = await node.run({
    name: "other",
    image: busybox,
    handler: "",
    command: ["sh", "-c", "mkdir /w; echo other >/w/index.html; exec httpd -f -p 8080 -h /w"],
  });
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
  await world.remove();
}, 300_000);

interface Mixed {
  readonly pod: PodOfMany;
  readonly web: RunningPod;
  readonly machine: RunningPod;
  readonly ipv6: string;
  readonly inMachine: (script: string) => Promise<string>;
  readonly inWeb: (script: string) => Promise<string>;
}

/** A machine and a container, both of which serve; the machine as cloud-init would have set it up. */
async function mixed(name: string): Promise<Mixed> {
  const pod = await PodOfMany.make(node, { name, annotations: { "trine.dev/memory": "128Mi" } });
  const serve = "mkdir /w; echo web >/w/index.html; echo web is up; exec httpd -f -p 9090 -h /w";
  const command = ["/bin/sh", "-c", serve];
  const web = await pod.start({ name: "web", image: busybox, command });
  const machine = await pod.start({ name: "machine", image: tiny });
  await node.untilOutput(web, "web is up", STEP_MS);
  await node.untilOutput(machine, READY, BOOT_MS);
  const inMachine = async (script: string): Promise<string> =>
    (await pod.exec(machine, script)).out;
  const inWeb = async (script: string): Promise<string> => (await pod.exec(web, script)).out;
  const { items } = JSON.parse((await node.api("/v1/pods")).body) as {
    items: { sandboxId: string; addresses: string[] }[];
  };
  const view = items.find(({ sandboxId }) => sandboxId === pod.podSandboxId);
  const ipv6 = view?.addresses.find((address) => address.includes(":")) ?? "";
  await inMachine(
    `${SEED}; echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
      ip address add ${ipv6}/64 dev eth0; ip route replace default via ${PODS6}::1 dev eth0`,
  );
  return { pod, web, machine, ipv6, inMachine, inWeb };
}

async function inOther(script: string): Promise<string> {
  const cmd = ["/bin/sh", "-c", script];
  const { containerId } = other;
  const answer = await node.containerd.cri.runtime.execSync({ containerId, cmd, timeout: 120n });
  return Buffer.concat([answer.stdout, answer.stderr]).toString();
}

let both: Mixed;

test(
  "one pair of addresses: a container's port is its own, every other the machine's, on localhost too",
  async () => {
    both = await mixed("both");
    const { pod, ipv6, inMachine, inWeb } = both;
    for (const host of [pod.ip, `[${ipv6}]`]) {
      expect(await inOther(`${CALL}${host}:8080/`)).toBe("both\n");
      expect(await inOther(`${CALL}${host}:9090/`)).toBe("web\n");
      // A container that calls its own address.
      expect(await inWeb(`${CALL}${host}:8080/`)).toBe("both\n");
    }
    for (const localhost of ["127.0.0.1", "[::1]"]) {
      expect(await inWeb(`${CALL}${localhost}:8080/`)).toBe("both\n");
      expect(await inWeb(`${CALL}${localhost}:9090/`)).toBe("web\n");
    }
    expect(await inMachine(`${CALL}containers.trine.internal:9090/`)).toBe("web\n");
    expect(await inMachine(`${CALL}[fd10:0:77::1]:9090/`)).toBe("web\n");
  },
  3 * BOOT_MS,
);

test("machine and container have the internet behind the node, of both families, while trined is away too", async () => {
  const { inMachine, inWeb } = both;
  const look = async (): Promise<void> => {
    for (const from of [inMachine, inWeb]) {
      expect(await from(`${CALL}${SERVER.ipv4}/`)).toBe(`world saw ${ROUTER.ipv4}\n`);
      expect(await from(`${CALL}[${SERVER.ipv6}]/`)).toBe(`world saw ${ROUTER.ipv6}\n`);
    }
  };
  await look();
  await node.killTrined();
  expect(await inWeb(`${CALL}[${SERVER.ipv6}]/`)).toBe(`world saw ${ROUTER.ipv6}\n`);
  await node.startTrined();
  await look();
});

test("a Service leads to another pod from the machine, and to the machine from another pod", async () => {
  const address = await inOther("ip -4 -o addr show eth0 | awk '{print $4}' | cut -d/ -f1");
  await world.serve(`${address.trim()}:8080`);
  expect(await both.inMachine(`${CALL}${SERVICE}/`)).toBe("other\n");
  await world.serve(`${both.pod.ip}:8080`);
  expect(await inOther(`${CALL}${SERVICE}/`)).toBe("both\n");
  await both.pod.remove();
});

test(
  "a pod of IPv6 alone has the same, and port-forward",
  async () => {
    await world.givePods([`${PODS6}::/64`]);
    const { pod, ipv6, inMachine, inWeb } = await mixed("six");
    expect(pod.ip).toBe(ipv6);
    expect(await inOther(`${CALL}[${ipv6}]:8080/`)).toBe("six\n");
    expect(await inOther(`${CALL}[${ipv6}]:9090/`)).toBe("web\n");
    for (const localhost of ["127.0.0.1", "[::1]"]) {
      expect(await inWeb(`${CALL}${localhost}:8080/`)).toBe("six\n");
    }
    expect(await inMachine(`${CALL}containers.trine.internal:9090/`)).toBe("web\n");
    expect(await inMachine(`${CALL}[${SERVER.ipv6}]/`)).toBe(`world saw ${ROUTER.ipv6}\n`);
    const forward = await node.containerd.cri.portForward(pod.podSandboxId);
    const connection = forward.connect(8080);
    connection.end("GET / HTTP/1.0\r\n\r\n");
    expect(await withDeadline("port-forward", STEP_MS, text(connection))).toContain("six");
    forward.close();
    await pod.remove();
    await node.remove(other);
  },
  3 * BOOT_MS,
);
