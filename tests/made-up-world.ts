// A network of the test's own for the pods of one node: a router that they have as their gateway, and an internet behind it.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withDeadline } from "@trine/base";
import { runCommand } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";

export const PODS6 = "fd99:7269:6e65:218";
const GATEWAYS = ["10.218.0.1/24", `${PODS6}::1/64`];
/** Addresses for documentation: nobody's. The router has .1, the server what is behind .2. */
export const SERVER = { ipv4: "203.0.113.7", ipv6: "2001:db8:113::7" } as const;
export const ROUTER = { ipv4: "198.51.100.1", ipv6: "2001:db8:100::1" } as const;
/** Of a Service, as kube-proxy makes them. */
export const SERVICE = "10.96.0.10";

const ANSWERS = `require("http").createServer((asked, answer) =>
  answer.end("world saw " + asked.socket.remoteAddress.replace("::ffff:", "") + "\\n"))
  .listen(80, "::", () => console.log("ready"))`;

export class MadeUpWorld {
  readonly #node: TrineNode;
  readonly #bridge: string;
  #server: ChildProcess | undefined;

  private constructor(node: TrineNode) {
    this.#node = node;
    this.#bridge = `${node.containerd.bridge.name}w`;
  }

  /** The node's next pods are of it. */
  static async make(node: TrineNode): Promise<MadeUpWorld> {
    const world = new MadeUpWorld(node);
    await world.remove(); // a test that was killed has left it
    await world.#build();
    await world.givePods(["10.218.0.0/24", `${PODS6}::/64`]);
    return world;
  }

  get #router(): string {
    return `${this.#bridge}r`;
  }

  get #internet(): string {
    return `${this.#bridge}i`;
  }

  async #build(): Promise<void> {
    const [bridge, router, internet] = [this.#bridge, this.#router, this.#internet];
    for (const name of [router, internet]) await runCommand("ip", ["netns", "add", name]);
    await ip([`link add ${bridge} type bridge`, `link set ${bridge} up`]);
    await ip([
      `link add ${router} type veth peer name pods netns ${router}`,
      `link set ${router} master ${bridge} up`,
    ]);
    await ip([`link add world netns ${router} type veth peer name world netns ${internet}`]);
    await this.#inside(router, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    await this.#inside(router, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1");
    await ip(
      [
        ...GATEWAYS.map((each) => `address add ${each} dev pods${nodad(each)}`),
        `address add ${ROUTER.ipv4}/24 dev world`,
        `address add ${ROUTER.ipv6}/64 dev world nodad`,
        ...["link set lo up", "link set pods up", "link set world up"],
        "route add default via 198.51.100.2",
        "route add default via 2001:db8:100::2",
      ],
      router,
    );
    await ip(
      [
        ...["link set lo up", "link set world up", "address add 198.51.100.2/24 dev world"],
        "address add 2001:db8:100::2/64 dev world nodad",
        `address add ${SERVER.ipv4}/32 dev lo`,
        `address add ${SERVER.ipv6}/128 dev lo nodad`,
      ],
      internet,
    );
    // Nobody out there has a way to the pods' own addresses.
    await this.#rules("");
    const argv = ["netns", "exec", internet, process.execPath, "-e", ANSWERS];
    this.#server = spawn("ip", argv, { stdio: ["ignore", "pipe", "inherit"] });
    const { stdout } = this.#server;
    if (stdout !== null) await withDeadline("the world listens", 20_000, once(stdout, "data"));
  }

  /** Leads a Service's address and port 80 to an endpoint, by the router as by kube-proxy. */
  serve(endpoint: string): Promise<void> {
    return this.#rules(`ip daddr ${SERVICE} tcp dport 80 dnat to ${endpoint}`);
  }

  async #rules(prerouting: string): Promise<void> {
    const rules = [
      ...["table inet world", "delete table inet world", "table inet world {"],
      `chain before { type nat hook prerouting priority -100; ${prerouting.replace("dnat", "dnat ip")}\n }`,
      'chain after { type nat hook postrouting priority 100; oifname "world" masquerade',
      'oifname "pods" ct status dnat masquerade',
      "}",
      "}",
    ].join("\n");
    await runCommand("ip", ["netns", "exec", this.#router, "nft", rules]);
  }

  /** The subnets of the pods that are made from now on. */
  async givePods(subnets: readonly string[]): Promise<void> {
    const { containerd } = this.#node;
    const ipam = {
      type: "host-local",
      dataDir: join(containerd.dir, "ipam-world"),
      ranges: subnets.map((subnet) => [{ subnet }]),
      routes: subnets.map((each) => ({ dst: each.includes(":") ? "::/0" : "0.0.0.0/0" })),
    };
    const plugins = [{ type: "bridge", bridge: this.#bridge, ipam }];
    const config = { cniVersion: "1.0.0", name: "world", plugins };
    await writeFile(join(containerd.dir, "cni/10-pods.conflist"), JSON.stringify(config));
    await containerd.restart();
  }

  async remove(): Promise<void> {
    if (this.#server !== undefined) {
      const ended = once(this.#server, "exit");
      this.#server.kill("SIGKILL");
      await ended;
    }
    const gone = (words: readonly string[]): Promise<unknown> =>
      runCommand("ip", words).catch(() => undefined); // it may never have been there
    for (const name of [this.#router, this.#internet]) await gone(["netns", "delete", name]);
    await gone(["link", "delete", this.#bridge]);
  }

  #inside(name: string, ...argv: string[]): Promise<string> {
    return runCommand("ip", ["netns", "exec", name, ...argv]);
  }
}

const nodad = (address: string): string => (address.includes(":") ? " nodad" : "");

async function ip(lines: readonly string[], netns?: string): Promise<void> {
  const where = netns === undefined ? [] : ["-n", netns];
  for (const line of lines) await runCommand("ip", [...where, ...line.split(" ")]);
}
