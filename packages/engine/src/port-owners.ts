import { readFile } from "node:fs/promises";
import { errnoOf } from "@trine/base";

/** A port at which somebody waits, and whose process it is. */
export interface PortOwner {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly uid: number;
}

/** Of a socket that waits for whoever comes: proc(5), /proc/net/tcp. UDP has no listeners; those not connected are closed. */
const WAITING = { tcp: "0A", udp: "07" } as const;

/** Who waits at which ports of the network namespace of process `pid`. */
export async function portOwners(pid: number): Promise<PortOwner[]> {
  const tables = (["tcp", "udp"] as const).flatMap((protocol) =>
    [protocol, `${protocol}6`].map(async (name) =>
      ownersIn(protocol, await readTable(`/proc/${pid}/net/${name}`)),
    ),
  );
  return (await Promise.all(tables)).flat();
}

/** Of one of the kernel's tables of sockets. */
function ownersIn(protocol: "tcp" | "udp", table: string): PortOwner[] {
  return table.split("\n").flatMap((row) => {
    const [, local = "", , state, , , , uid = ""] = row.trim().split(/\s+/);
    if (state !== WAITING[protocol]) return [];
    const port = Number.parseInt(local.split(":").at(-1) ?? "", 16);
    return [{ protocol, port, uid: Number.parseInt(uid, 10) }];
  });
}

/** Empty where the kernel has no such protocol. */
async function readTable(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return "";
    throw cause;
  });
}
