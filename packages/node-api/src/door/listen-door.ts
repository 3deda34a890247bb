import type { DoorServer, DoorServerOptions } from "./serve-door.ts";

/** Opens the node's door. What it needs, TLS above all, is loaded by nodes that have one. */
export async function listenDoor(options: DoorServerOptions): Promise<DoorServer> {
  const { DoorServer } = await import("./serve-door.ts");
  return DoorServer.listen(options);
}
