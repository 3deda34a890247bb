// Containers with CAP_NET_ADMIN that filter and translate packets: the same programs under runc and in a microvm.
import type { TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { PodPair } from "./pod-pair.ts";
import type { ContainerInit } from "./pod-pair.ts";

let node: TrineNode;
let pair: PodPair;

beforeAll(async () => {
  const started = await startMicrovmNode();
  node = started.node;
  pair = await PodPair.start(node, started.image, { name: "netfilter" });
}, 1_800_000);

afterAll(async () => {
  await pair.remove();
  expect(await node.stop()).toEqual([]);
});

/** The programs are this machine's, with their libraries: both sides run the same. */
const tools = (...capabilities: string[]): ContainerInit => ({
  mounts: ["/usr", "/lib", "/lib64"].map((path) => ({
    containerPath: path,
    hostPath: path,
    readonly: true,
  })),
  envs: [{ key: "LD_LIBRARY_PATH", value: Buffer.from("/usr/lib/x86_64-linux-gnu") }],
  linux: { securityContext: { capabilities: { addCapabilities: capabilities } } },
});

const NFT = `/usr/sbin/nft -f - <<'END'
table inet filter {
  set blocked { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
  chain in {
    type filter hook input priority 0; policy accept;
    ct state invalid drop
    ip saddr @blocked counter drop
    tcp dport 7001 reject with tcp reset
    limit rate 10/second log prefix "seen " accept
  }
}
table ip nat {
  chain out {
    type nat hook output priority -100;
    ip daddr 127.0.0.1 tcp dport 7000 redirect to :7002
  }
  chain post { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
}
END
/usr/sbin/nft list ruleset`;

/** An answer from 7002 to a caller of 7000, and a refusal from 7001. */
const CALLS = `
(echo hello | nc -l -p 7002) </dev/null >/dev/null 2>&1 &
nc -l -p 7001 </dev/null >/dev/null 2>&1 &
until [ $(grep -cE ':1B5[9A] ' /proc/net/tcp6) = 2 ]; do usleep 100000; done
echo | nc -w 5 127.0.0.1 7000; nc -w 5 127.0.0.1 7001 </dev/null 2>&1 || echo refused`;

/** As kube-proxy and service meshes write them. */
const RULES = `*filter
-A INPUT -p tcp -m multiport --dports 7003,7004 -m comment --comment "no more" -j REJECT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OUTPUT -m owner --uid-owner 77 -m limit --limit 5/min -j ACCEPT
COMMIT
*nat
-A OUTPUT -p tcp -m tcp --dport 7005 -j REDIRECT --to-ports 7006
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
COMMIT
*mangle
-A PREROUTING -j MARK --set-mark 1
COMMIT`;

/** Kernels and counters differ, rules do not. */
const iptables = (program: string): string => `
mkdir -p /run # for the old one's lock
for word in iptables ip6tables; do
  /usr/sbin/${program} $word-restore <<'END' 2>&1
${RULES}
END
  echo restored $?
  /usr/sbin/${program} $word-save 2>&1 | grep -v '^#' | sed 's/\\[.*\\]//'
done`;

test("nft's rules are taken, listed and obeyed as under runc", async () => {
  const { runc, microvm } = await pair.script(tools("NET_ADMIN"), `${NFT}\n${CALLS}`);
  expect(microvm).toEqual(runc);
  expect(microvm).toContain("hello");
  expect(microvm).toContain("refused");
}, 240_000);

test("iptables over nft and of old take the same rules as under runc", async () => {
  const script = ["xtables-nft-multi", "xtables-legacy-multi"].map(iptables).join("\n");
  const { runc, microvm } = await pair.script(tools("NET_ADMIN", "NET_RAW"), script);
  expect(microvm).toEqual(runc);
  expect(microvm.match(/restored 0/g)).toHaveLength(4);
  expect(microvm).toContain("-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE");
}, 240_000);

test("links that a container makes are there as under runc", async () => {
  const script = `
    ip link add v0 type veth peer name v1; ip link add b0 type bridge
    ip link set v0 master b0; ls /sys/class/net | grep -E '^[vb][01]$'`;
  const { runc, microvm } = await pair.script(tools("NET_ADMIN"), script);
  expect(microvm).toEqual(runc);
});

test("without CAP_NET_ADMIN there is nothing to be had", async () => {
  const { runc, microvm } = await pair.script(tools(), "/usr/sbin/nft list ruleset 2>&1; echo $?");
  expect(microvm).toEqual(runc);
  expect(microvm).toContain("not permitted");
});
