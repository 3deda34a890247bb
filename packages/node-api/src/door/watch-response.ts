import type { ServerResponse } from "node:http";
import type { FeedEvent, MachineFeed } from "./machine-feed.ts";
import { keyOf } from "./door-machines.ts";

const ALIVE_MS = 5_000;
/** A reader that takes nothing for as long is gone. */
const STUCK_MS = 60_000;

/** Lines of JSON until the reader leaves. A slow one gets the last word on each machine, not each word. */
export async function watchMachines(feed: MachineFeed, response: ServerResponse): Promise<void> {
  const pending = new Map<string, object>();
  let isFull = true; // until the state is out
  const flush = (): void => {
    for (const [key, line] of pending) {
      if (isFull) return;
      pending.delete(key);
      isFull = !response.write(`${JSON.stringify(line)}\n`);
    }
  };
  const put = (key: string, line: object): void => {
    pending.delete(key); // the newest goes last
    pending.set(key, line);
    flush();
  };
  response.on("drain", () => {
    isFull = false;
    flush();
  });
  const { items, stop } = await feed.listen((event: FeedEvent) => {
    put(keyOf(event.type === "machine" ? event.object : event), event);
  });
  const alive = setInterval(() => {
    put("alive", { type: "alive" });
  }, ALIVE_MS);
  response.on("close", () => {
    clearInterval(alive);
    stop();
  });
  if (response.destroyed) {
    clearInterval(alive);
    stop();
    return;
  }
  response.socket?.setTimeout(STUCK_MS, () => response.destroy());
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  isFull = !response.write(`${JSON.stringify({ type: "state", items })}\n`);
  flush();
}
