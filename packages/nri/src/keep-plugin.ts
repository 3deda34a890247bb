import { createConnection } from "node:net";
import { abortable, messageOf, sleep, withDeadline } from "@trine/base";
import { Plugin, Runtime } from "@trine/proto/nri";
import { TtrpcClient, TtrpcServer } from "@trine/ttrpc";
import { pluginHandlers } from "./plugin-calls.ts";
import type { NriLog, NriPlugin } from "./plugin-calls.ts";
import { Trunk } from "./trunk.ts";

/** Numbers of the two connections: what we serve, and what the runtime does. */
const PLUGIN = 1;
const RUNTIME = 2;
const REGISTER_MS = 10_000;
const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 10_000;

export interface KeepOptions {
  /** NRI's socket. */
  readonly socket: string;
  readonly log: NriLog;
}

export interface KeptPlugin {
  /** Why it is not connected; undefined = it is. */
  readonly notConnected: () => string | undefined;
  readonly stop: () => Promise<void>;
}

/** Registers the plugin, and again with growing pauses whenever the connection is lost or cannot be made. */
export function keepPlugin(plugin: NriPlugin, options: KeepOptions): KeptPlugin {
  const over = new AbortController();
  let why: string | undefined = "it has not connected yet";
  const say = (reason: string): void => {
    if (reason !== why)
      options.log.warn({ socket: options.socket, reason }, "NRI is not connected");
    why = reason;
  };
  const isOver = (): boolean => over.signal.aborted;
  const keeping = (async () => {
    let pause = FIRST_RETRY_MS;
    while (!isOver()) {
      try {
        await connectOnce(plugin, options, over.signal, () => {
          options.log.info({ socket: options.socket }, "NRI is connected");
          [why, pause] = [undefined, FIRST_RETRY_MS];
        });
        say("the connection ended");
      } catch (cause) {
        if (!isOver()) say(messageOf(cause));
      }
      await sleep(pause, over.signal).catch(() => undefined); // it only fails when we stop
      pause = Math.min(pause * 2, LAST_RETRY_MS);
    }
  })();
  return {
    notConnected: () => why,
    stop: async () => {
      over.abort();
      await keeping;
    },
  };
}

/** Resolves when a connection that was made has ended. */
async function connectOnce(
  plugin: NriPlugin,
  { socket: path, log }: KeepOptions,
  signal: AbortSignal,
  onSynchronized: () => void,
): Promise<void> {
  const socket = createConnection(path);
  const trunk = new Trunk(socket);
  const server = new TtrpcServer({
    onError: (error, call) => {
      // Of the connection itself we hear by the other half of it.
      if (call.method !== undefined) {
        log.warn({ err: messageOf(error), ...call }, "a call of NRI failed");
      }
    },
  });
  server.register(Plugin, pluginHandlers(plugin, log, onSynchronized));
  server.serve(trunk.open(PLUGIN));
  const client = TtrpcClient.over(trunk.open(RUNTIME), path);
  try {
    await withDeadline(
      "registration with NRI",
      REGISTER_MS,
      client
        .service(Runtime)
        .registerPlugin({ pluginName: plugin.name, pluginIdx: plugin.index }, { signal }),
    );
    await abortable("NRI", signal, client.closed);
  } finally {
    client.close();
    await server.close();
  }
}
