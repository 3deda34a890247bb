// A microvm pod's network, beside one of runc: both families, ports of the node, names, kernel parameters.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { runCommand } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { MICROVM, PodOfTest } from "./pod-pair.ts";

const PREFIX = "fd99:7269:6e65:1";
const HOST_PORT = 28_080;

let node: TrineNode;
let image: string;

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
  await addIpv6();
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
});

/** Gives the pods' bridge and its pods addresses of a second family. */
async function addIpv6(): Promise<void> {
  const { bridge, dir } = node.containerd;
  const address = [`${PREFIX}::1/64`, "dev", bridge.name, "nodad"];
  await runCommand("ip", ["-6", "address", "add", ...address]);
  const file = join(dir, "cni/10-pods.conflist");
  const config = JSON.parse(await readFile(file, "utf8")) as {
    plugins: { ipam?: { ranges: object[][]; routes: object[] } }[];
  };
  const ipam = config.plugins[0]?.ipam;
  ipam?.ranges.push([{ subnet: `${PREFIX}::/64` }]);
  ipam?.routes.push({ dst: "::/0" });
  await writeFile(file, JSON.stringify(config));
}

async function get(url: string): Promise<string> {
  return pollUntil(`${url} answers`, { ms: 60_000, everyMs: 300 }, () =>
    fetch(url, { signal: AbortSignal.timeout(5000) })
      .then((answer) => answer.text())
      .catch(() => undefined),
  );
}

interface Seen {
  readonly inside: string;
  readonly outside: string[];
}

test("addresses of both families, a port of the node, DNS, sysctls, as under runc", async () => {
  const look = async (handler: string): Promise<Seen> => {
    const hostPort = handler === MICROVM ? HOST_PORT : HOST_PORT + 1;
    const pod = await PodOfTest.start(node, {
      handler,
      image,
      name: "net",
      portMappings: [{ containerPort: 8080, hostPort }],
      config: {
        dnsConfig: {
          servers: ["192.0.2.53"],
          searches: ["a.test", "b.test"],
          options: ["ndots:5"],
        },
        linux: { sysctls: { "net.core.somaxconn": "777", "kernel.shm_rmid_forced": "1" } },
      },
    });
    const serve = "mkdir /w; echo page >/w/page; exec httpd -f -p 8080 -h /w";
    const container = await pod.run({ command: ["/bin/sh", "-c", serve] });
    const { status } = await node.containerd.cri.runtime.podSandboxStatus({
      podSandboxId: pod.podSandboxId,
    });
    const [v4, v6] = [status?.network?.ip ?? "", status?.network?.additionalIps[0]?.ip ?? ""];
    expect(v6).toContain(PREFIX);
    const { gateway } = node.containerd.bridge;
    const inside = await pod.sh(
      container,
      [
        `ip -o addr show eth0 | grep -oE '${v4}/[0-9]+|${v6}/[0-9]+'`,
        "ip route; ip -6 route | grep -E 'fd99|default' | sed 's/  *metric.*//'",
        "cat /etc/resolv.conf /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced",
        `ping -c 1 -W 20 ${gateway} | grep -c '1 packets received'`,
        `ping -6 -c 1 -W 20 ${PREFIX}::1 | grep -c '1 packets received'`,
      ].join("\n"),
    );
    const outside = [
      await get(`http://${v4}:8080/page`),
      await get(`http://[${v6}]:8080/page`),
      await get(`http://${gateway}:${hostPort}/page`),
    ];
    await pod.remove();
    return { inside: inside.replaceAll(v4, "IPV4").replaceAll(v6, "IPV6"), outside };
  };
  const [runc, microvm] = [await look(""), await look(MICROVM)];
  expect(microvm).toEqual(runc);
  expect(microvm.outside).toEqual(["page\n", "page\n", "page\n"]);
}, 240_000);
