import { once } from "node:events";
import { chmod, lstat, unlink } from "node:fs/promises";
import { createConnection } from "node:net";
import type { Server } from "node:net";
import { TrineError, messageOf } from "@trine/base";

/**
 * Listens on a unix socket only its owner may connect to. A socket file nobody answers on is replaced;
 * one that answers is kind `alreadyExists`, a file of another type `wrongState`.
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
  try {
    await listen(server, path);
  } catch (cause) {
    if (!isCode(cause, "EADDRINUSE")) {
      throw new TrineError("unavailable", `listen on ${path}: ${messageOf(cause)}`, { cause });
    }
    await removeStale(path);
    await listen(server, path);
  }
  await chmod(path, 0o600);
}

async function listen(server: Server, path: string): Promise<void> {
  server.listen(path);
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
    if (!isCode(cause, "ECONNREFUSED")) throw cause;
    await unlink(path);
    return;
  } finally {
    probe.destroy();
  }
  throw new TrineError("alreadyExists", `another process answers on ${path}: stop it first`);
}

function isCode(cause: unknown, code: string): boolean {
  return cause instanceof Error && "code" in cause && cause.code === code;
}
