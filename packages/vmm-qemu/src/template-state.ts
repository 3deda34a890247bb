import { once } from "node:events";
import { chmod, open, rename, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { addAbortSignal } from "node:stream";
import { TrineError, abortable, messageOf } from "@trine/base";
import type { QmpClient, QmpEvent } from "@trine/qmp";
import { MACHINE_DIR, MAX_STATE_BYTES } from "@trine/vmm";

const STATE_SOCKET = "state.sock";

/**
 * Stops the machine and writes its state without its memory to `path`. QEMU 7.2 takes a descriptor for that
 * over the monitor's own socket only, and its sandbox lets it start no program: so it connects to a socket in
 * the machine's directory.
 */
export async function saveState(
  client: QmpClient,
  machineDir: string,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  await client.execute("stop", {}, { signal });
  const socketPath = join(machineDir, STATE_SOCKET);
  await rm(socketPath, { force: true });
  const server = createServer();
  const over = new AbortController();
  try {
    await listen(server, socketPath);
    const writing = receive(server, `${path}.new`, AbortSignal.any([signal, over.signal]));
    writing.catch(() => undefined); // asked for below, once QEMU has said how it went
    await migrate(client, { uri: `unix:${MACHINE_DIR}/${STATE_SOCKET}` }, signal);
    await writing;
    await rename(`${path}.new`, path);
  } finally {
    over.abort();
    server.close();
    await rm(`${path}.new`, { force: true });
  }
}

/** The VMM is another user; only it and root reach the machine's directory. */
async function listen(server: Server, path: string): Promise<void> {
  server.listen(path);
  await once(server, "listening");
  await chmod(path, 0o666);
}

async function receive(server: Server, path: string, signal: AbortSignal): Promise<void> {
  const [socket] = (await once(server, "connection", { signal })) as [Socket];
  await using file = await open(path, "w", 0o600);
  let size = 0;
  for await (const bytes of addAbortSignal(signal, socket) as AsyncIterable<Buffer>) {
    size += bytes.length;
    if (size > MAX_STATE_BYTES) {
      throw new TrineError("exhausted", `state of more than ${MAX_STATE_BYTES} bytes`);
    }
    await file.writeFile(bytes);
  }
}

/** Goes on from a state that QEMU finds under the descriptor; the machine is stopped afterwards, as it was. */
export async function loadState(
  client: QmpClient,
  descriptor: number,
  signal: AbortSignal,
): Promise<void> {
  await setCapabilities(client, signal);
  const done = migrationEnd(client, signal);
  try {
    await client.execute("migrate-incoming", { uri: `fd:${descriptor}` }, { signal });
    await done;
  } catch (cause) {
    signal.throwIfAborted();
    // What it says about a state it cannot use is in its log.
    throw new TrineError("conflict", messageOf(cause), { cause });
  }
}

async function migrate(
  client: QmpClient,
  to: { readonly uri: string },
  signal: AbortSignal,
): Promise<void> {
  await setCapabilities(client, signal);
  const done = migrationEnd(client, signal);
  await client.execute("migrate", to, { signal });
  await done;
}

/** Memory is a file both sides have; how it went comes as an event. */
async function setCapabilities(client: QmpClient, signal: AbortSignal): Promise<void> {
  const capabilities = ["x-ignore-shared", "events"].map((capability) => ({
    capability,
    state: true,
  }));
  await client.execute("migrate-set-capabilities", { capabilities }, { signal });
}

/** Resolves when a migration has gone well; kind `conflict` when not, `unavailable` when QEMU ended. */
function migrationEnd(client: QmpClient, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const stop = client.onEvent((event: QmpEvent) => {
    if (event.name !== "MIGRATION") return;
    if (event.data["status"] === "completed") resolve(undefined);
    if (event.data["status"] === "failed") {
      reject(new TrineError("conflict", "QEMU does not take the state"));
    }
  });
  void client.closed.then(() => {
    reject(new TrineError("conflict", "QEMU ended over the state"));
  });
  promise.catch(() => undefined); // also when the command before it fails and nobody waits
  return abortable("QEMU's state", signal, promise).finally(stop);
}
