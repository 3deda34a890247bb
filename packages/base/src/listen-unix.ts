import { once } from "node:events";
import { lstat, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import type { Server } from "node:net";
import { errnoOf } from "./errno-of.ts";
import { TrineError, messageOf } from "./trine-error.ts";

/**
 * Listens on a unix socket only its owner may connect to. A socket file nobody answers on is replaced;
 * one that answers is kind `alreadyExists`, a file of another type `wrongState`.
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
  try {
    await listen(server, path);
  } catch (cause) {
    if (errnoOf(cause) !== "EADDRINUSE") {
      throw new TrineError("unavailable", `listen on ${path}: ${messageOf(cause)}`, { cause });
    }
    await removeStale(path);
    await listen(server, path);
  }
}

async function listen(server: Server, path: string): Promise<void> {
  // The socket is made within listen(): nobody else can connect for one moment.
  const before = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await once(server, "listening");
}

async function removeStale(path: string): Promise<void> {
  if (!(await lstat(path)).isSocket()) {
    throw new TrineError("wrongState", `${path} is there and is not a socket: remove it`);
  }
  const probe = createConnection(path);
  try {
    await once(probe, "connect");
  } catch (cause) {
    if (!["ECONNREFUSED", "ENOENT"].includes(errnoOf(cause) ?? "")) throw cause;
    await rm(path, { force: true });
    return;
  } finally {
    probe.destroy();
  }
  throw new TrineError("alreadyExists", `another process answers on ${path}: stop it first`);
}
