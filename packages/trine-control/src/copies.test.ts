import { type Duplex, duplexPair } from "node:stream";
import { TrineError, pollUntil } from "@trine/base";
import type { Pod, Stored } from "@trine/kube-client";
import type { MachineRef, NodeDoor } from "@trine/node-door";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Copies } from "./copies.ts";

const pod = (namespace: string, name: string, nodeName: string): Stored<Pod> =>
  ({
    metadata: { namespace, name, uid: `${name}-uid` },
    spec: { nodeName },
  }) as unknown as Stored<Pod>;
const GIVER = pod("golden", "give-disk", "n1");
const TAKER = pod("shop", "import-disk", "n2");

/** What the pods' imports have of their streams, in the order that these were opened. */
let ends: Duplex[];
/** What the control plane has of the same. */
let nears: Duplex[];
let asked: string[];
let cuts: unknown[];
let now: number;
let copies: Copies;
let refusing: TrineError | undefined;

beforeEach(() => {
  [ends, nears, asked, cuts, now] = [[], [], [], [], 0];
  refusing = undefined;
  const doorOf = (node: string): Promise<NodeDoor> => {
    const upload = ({ namespace, pod: name, uid }: MachineRef): Promise<Duplex> => {
      asked.push(`${node} ${namespace}/${name} ${uid}`);
      if (refusing !== undefined) return Promise.reject(refusing);
      const [near, far] = duplexPair();
      far.on("error", () => undefined);
      ends.push(far);
      nears.push(near);
      return Promise.resolve(near);
    };
    return Promise.resolve({ upload } as unknown as NodeDoor);
  };
  copies = new Copies({
    doors: { of: doorOf },
    onCut: (_, cause) => cuts.push(cause),
    now: () => now,
  });
});

afterEach(() => copies.close());

function opened(count: number): Promise<Duplex[]> {
  return pollUntil(`${count} streams`, { ms: 10_000 }, () =>
    Promise.resolve(ends.length >= count ? ends : undefined),
  );
}

async function closed(): Promise<void> {
  await pollUntil("all streams are closed", { ms: 10_000 }, () =>
    Promise.resolve(nears.every(({ destroyed }) => destroyed) ? true : undefined),
  );
}

async function cut(): Promise<unknown> {
  await pollUntil("it was cut off", { ms: 10_000 }, () =>
    Promise.resolve(cuts.length > 0 ? true : undefined),
  );
  return cuts[0];
}

async function takenOf(taker: Duplex | undefined, bytes: number): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const chunk of taker?.iterator({ destroyOnReturn: false }) ?? []) {
    all.push(chunk as Buffer);
    if (Buffer.concat(all).length >= bytes) break;
  }
  return Buffer.concat(all);
}

test("what the giver gives comes to the taker, and both are left when that has all", async () => {
  const disk = Buffer.alloc(500_000, "disk");
  copies.join(GIVER, TAKER);
  copies.join(GIVER, TAKER); // goes on already
  const [taker, giver] = await opened(2);
  giver?.end(disk);
  expect((await takenOf(taker, disk.length)).equals(disk)).toBe(true);
  taker?.write('{"done":true}\n');
  await closed();
  expect(asked).toEqual([
    "n2 shop/import-disk import-disk-uid",
    "n1 golden/give-disk give-disk-uid",
  ]);
  expect(cuts).toEqual([]);
});

test("a giver that ends in the middle is told to the taker, and the two are joined again later", async () => {
  copies.join(GIVER, TAKER);
  const [taker, giver] = await opened(2);
  giver?.end("half");
  const said = takenOf(taker, Infinity);
  expect((await said).toString()).toBe("half");
  taker?.end('{"kind":"canceled","message":"the copy was cut off"}\n');
  expect(await cut()).toMatchObject({ kind: "canceled", message: "the copy was cut off" });
  copies.join(GIVER, TAKER);
  expect(asked).toHaveLength(2);
  await pollUntil("joined again", { ms: 10_000 }, () => {
    now += 10_000;
    copies.join(GIVER, TAKER);
    return Promise.resolve(asked.length > 2 ? true : undefined);
  });
});

test.each([
  ["refuses", '{"kind":"invalid","message":"too large"}\n', "too large"],
  ["says nonsense", '{"done":1}\n', "makes no sense"],
  ["says no JSON", "x\n", "the one that takes it"],
])("a taker that %s in the middle ends it for both", async (_, word, message) => {
  copies.join(GIVER, TAKER);
  const [taker, giver] = await opened(2);
  giver?.write("more than");
  taker?.write(word);
  expect(await cut()).toMatchObject({ message: expect.stringContaining(message) as string });
  await closed();
});

test("a taker that leaves without a word ends it", async () => {
  copies.join(GIVER, TAKER);
  const [taker, giver] = await opened(2);
  giver?.write("more than");
  taker?.destroy();
  expect(await cut()).toMatchObject({ kind: "unavailable" });
  await closed();
});

test("a node that does not let in is told, and nothing is left open", async () => {
  refusing = new TrineError("wrongState", "it waits for no upload");
  copies.join(GIVER, TAKER);
  expect(await cut()).toBe(refusing);
  expect(ends).toEqual([]);
});

test("no more than eight go on at once, and all end with their leader", async () => {
  for (let n = 0; n < 12; n += 1) copies.join(GIVER, pod("shop", `import-${n}`, "n2"));
  await opened(16);
  expect(asked).toHaveLength(16);
  await copies.close();
  await closed();
  expect(cuts).toEqual([]);
});
