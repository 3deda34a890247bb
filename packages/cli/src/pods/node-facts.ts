import { readFile } from "node:fs/promises";
import { availableParallelism, hostname, networkInterfaces, totalmem } from "node:os";
import { errnoOf } from "@trine/base";
import type { NodeFacts, Resolver } from "@trine/pod-spec";

const MAX_BYTES = 64 * 1024;

/** This node, for what a pod may ask of it. */
export async function readNodeFacts(): Promise<NodeFacts> {
  return {
    name: hostname().toLowerCase(),
    ip: nodeAddress(),
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    resolver: parseResolver(await readResolver()),
  };
}

/** The first address that is not loopback's, IPv4 before IPv6. */
function nodeAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const own = all.filter(({ internal }) => !internal);
  const first = own.find(({ family }) => family === "IPv4") ?? own[0];
  return first?.address ?? "127.0.0.1";
}

/** systemd-resolved's stub listens on the node's loopback only: its other file has the real servers. */
async function readResolver(): Promise<string> {
  const text = await textOf("/etc/resolv.conf");
  const isStub = /^nameserver\s+127\.0\.0\.53\s*$/m.test(text);
  const real = isStub ? await textOf("/run/systemd/resolve/resolv.conf") : "";
  return real === "" ? text : real;
}

async function textOf(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).slice(0, MAX_BYTES);
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return "";
    throw cause;
  }
}

/** resolv.conf(5): the last `search` counts. */
export function parseResolver(text: string): Resolver {
  const lines = text.split("\n").map((line) => line.trim().split(/\s+/));
  const of = (word: string): string[][] =>
    lines.filter(([first]) => first === word).map((line) => line.slice(1));
  return {
    servers: of("nameserver").flat().slice(0, 3),
    searches: of("search").at(-1) ?? of("domain").at(-1) ?? [],
    options: of("options").flat(),
  };
}
