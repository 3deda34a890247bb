import { once } from "node:events";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { TrineError, messageOf, withDeadline } from "@trine/base";
import { readVolumeWord } from "@trine/node-door";
import type { ImportReport } from "@trine/node-door";
import type { DoorEngine } from "./door-machines.ts";
import { type OpenStream, joined } from "./door-streams.ts";

const CONNECT_MS = 10_000;
/** open(2); Node has no name for it. A descriptor that stands for the file and opens nothing. */
const O_PATH = 0o10000000;

/** A container that fills a volume. */
export interface ImportRef {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  readonly container: string;
}

/** All imports of the node that have said anything, read by schema: their processes are the pods'. */
export async function foundImports(engine: DoorEngine): Promise<ImportReport[]> {
  const pods = await engine.machinePods();
  const found = await Promise.all(
    pods.map(async ({ identity, imports }) => {
      const said = (await imports?.()) ?? [];
      return said.flatMap(({ container, word }) => {
        const read = readVolumeWord(word);
        const { podNamespace: namespace, name: pod, uid } = identity;
        return read === undefined ? [] : [{ namespace, pod, uid, container, ...read }];
      });
    }),
  );
  return found.flat();
}

/** A stream to an import that waits for an upload. Kinds `notFound`, `conflict` as of machines, `wrongState` where it does not wait. */
export async function openUpload(engine: DoorEngine, wanted: ImportRef): Promise<OpenStream> {
  const { namespace, pod: name, uid, container } = wanted;
  const named = (await engine.machinePods()).filter(
    ({ identity }) => identity.podNamespace === namespace && identity.name === name,
  );
  const pod = named.find(({ identity }) => identity.uid === uid);
  const [other] = named;
  if (pod === undefined && other !== undefined) {
    throw new TrineError("conflict", `pod ${namespace}/${name} has uid ${other.identity.uid}`);
  }
  const said = (await pod?.imports?.()) ?? [];
  const isKnown = said.some((each) => each.container === container);
  const path = isKnown ? pod?.uploadSocket?.(container) : undefined;
  if (path === undefined) {
    throw new TrineError("notFound", `no import ${container} of pod ${namespace}/${name} is here`);
  }
  try {
    return joined(await connectTo(path));
  } catch (cause) {
    throw new TrineError("wrongState", `it waits for no upload: ${messageOf(cause)}`, { cause });
  }
}

/** The container could put a link to another socket of the node there: what is connected to is what was looked at. */
async function connectTo(path: string): Promise<Socket> {
  await using found = await open(path, O_PATH | constants.O_NOFOLLOW);
  if (!(await found.stat()).isSocket()) throw new TrineError("invalid", "that is no socket");
  const socket = connect({ path: `/proc/self/fd/${found.fd}`, allowHalfOpen: true });
  try {
    await withDeadline("the import", CONNECT_MS, once(socket, "connect"));
  } catch (cause) {
    socket.destroy();
    throw cause;
  }
  return socket;
}
