// The runtime's side of NRI, spoken by our own ttrpc over the same trunk.
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listenUnix, pollUntil } from "@trine/base";
import { Event, Plugin, Runtime } from "@trine/proto/nri";
import { TtrpcClient, TtrpcServer } from "@trine/ttrpc";
import type { ServiceClient } from "@trine/ttrpc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { keepPlugin } from "./keep-plugin.ts";
import type { KeptPlugin } from "./keep-plugin.ts";
import type { NriPlugin } from "./plugin-calls.ts";
import { Trunk } from "./trunk.ts";

const WAIT_MS = 20_000;
const POD = { id: "p", name: "pod" };

let dir: string;
let runtime: Server;
let sockets: Socket[];
/** What the plugin answers, of each connection. */
let clients: ServiceClient<typeof Plugin>[];
let registered: string[];
let seen: string[];
let kept: KeptPlugin;

const plugin: NriPlugin = {
  index: "90",
  name: "tester",
  synchronize: (pods, containers) => seen.push(`all ${pods.length} ${containers.length}`),
  create: (_, { name }) => {
    if (name === "bad") throw new Error("no mounts today");
    const mount = { destination: "/d", source: "/s", type: "bind", options: ["ro"] };
    return { mounts: [mount], cpus: name === "pinned" ? "0-1" : undefined };
  },
  started: (_, { id, pid }) => seen.push(`started ${id} ${pid}`),
  updated: (_, { id }, resources) => {
    seen.push(`updated ${id}`);
    return resources === undefined ? undefined : "2";
  },
  removed: (id) => seen.push(`removed ${id}`),
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-nri-"));
  [sockets, clients, registered, seen] = [[], [], [], []];
  runtime = createServer((socket) => {
    sockets.push(socket);
    const trunk = new Trunk(socket);
    const client = TtrpcClient.over(trunk.open(1), "plugin").service(Plugin);
    const server = new TtrpcServer({ onError: () => undefined });
    server.register(Runtime, {
      registerPlugin: ({ pluginIdx, pluginName }) => {
        registered.push(`${pluginIdx}-${pluginName}`);
        clients.push(client);
        return Promise.resolve({});
      },
    });
    server.serve(trunk.open(2));
  });
  await listenUnix(runtime, join(dir, "s"));
  const log = { info: () => undefined, warn: () => undefined };
  kept = keepPlugin(plugin, { socket: join(dir, "s"), log });
});

afterEach(async () => {
  await kept.stop();
  runtime.close();
  for (const socket of sockets) socket.destroy();
  await rm(dir, { recursive: true });
});

/** The plugin as the runtime's nth connection sees it. */
function connection(nth: number): Promise<ServiceClient<typeof Plugin>> {
  return pollUntil(`connection ${nth}`, { ms: WAIT_MS }, () => clients[nth - 1]);
}

test("it registers, names its events, and is connected once it was told of all, also in parts", async () => {
  const client = await connection(1);
  expect(registered).toEqual(["90-tester"]);
  const { events } = await client.configure({});
  const has = (event: Event): boolean => (events & (1 << (event - 1))) !== 0;
  expect([Event.CREATE_CONTAINER, Event.START_CONTAINER, Event.REMOVE_CONTAINER].every(has)).toBe(
    true,
  );
  expect(has(Event.RUN_POD_SANDBOX)).toBe(false);
  expect(await client.synchronize({ pods: [POD], more: true })).toMatchObject({ more: true });
  expect(kept.notConnected()).toMatch(/not connected yet/);
  await client.synchronize({ containers: [{ id: "a" }, { id: "b" }] });
  expect(seen).toEqual(["all 1 2"]);
  expect(kept.notConnected()).toBeUndefined();
});

test("mounts are added; where the plugin fails the container is left as it was", async () => {
  const client = await connection(1);
  const create = async (name: string): Promise<unknown> => {
    const answer = await client.createContainer({ pod: POD, container: { id: name, name } });
    return answer.adjust?.mounts.map(({ destination }) => destination);
  };
  expect(await create("good")).toEqual(["/d"]);
  expect(await create("bad")).toBeUndefined();
  expect(await client.createContainer({})).not.toHaveProperty("adjust");
});

test("CPUs that the plugin chooses are part of a creation and of a change", async () => {
  const client = await connection(1);
  const cpusOf = async (name: string): Promise<string | undefined> => {
    const { adjust } = await client.createContainer({ pod: POD, container: { id: name, name } });
    return adjust?.linux?.resources?.cpu?.cpus;
  };
  expect(await cpusOf("pinned")).toBe("0-1");
  expect(await cpusOf("good")).toBeUndefined();
  const container = { id: "c" };
  const { update } = await client.updateContainer({ pod: POD, container, linuxResources: {} });
  expect(update).toMatchObject([
    { containerId: "c", linux: { resources: { cpu: { cpus: "2" } } } },
  ]);
  expect((await client.updateContainer({ pod: POD, container })).update).toEqual([]);
});

test("starts, changes and ends are told, as calls and as older runtimes' events", async () => {
  const client = await connection(1);
  const container = { id: "c", pid: 5 };
  await client.postStartContainer({ pod: POD, container });
  await client.updateContainer({ pod: POD, container });
  await client.stopContainer({ pod: POD, container });
  await client.stateChange({ event: Event.POST_START_CONTAINER, pod: POD, container });
  await client.stateChange({ event: Event.REMOVE_CONTAINER, pod: POD, container });
  await client.stateChange({ event: Event.RUN_POD_SANDBOX, pod: POD });
  const once = ["started c 5", "updated c", "removed c"];
  expect(seen).toEqual([...once, "started c 5", "removed c"]);
});

test("a connection that is lost, or on which nonsense comes, is made anew", async () => {
  await (await connection(1)).synchronize({});
  sockets[0]?.destroy();
  await (await connection(2)).synchronize({});
  expect(kept.notConnected()).toBeUndefined();
  sockets[1]?.write(Buffer.from("00000001ffffffff", "hex"));
  await (await connection(3)).synchronize({});
  expect(seen).toEqual(["all 0 0", "all 0 0", "all 0 0"]);
});
