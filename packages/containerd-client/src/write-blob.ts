import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError, kindOf } from "@trine/base";
import {
  Content,
  WriteAction,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
} from "@trine/proto/content";
import type { GrpcChannel, GrpcHeaders } from "./grpc-channel.ts";
import type { GrpcStream } from "./grpc-stream.ts";

export interface BlobSource {
  /** Name of the write while it goes on; whoever uses the same one at the same time is refused. */
  readonly ref: string;
  readonly sizeBytes: number;
  /** Known already: containerd compares. */
  readonly digest?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface WrittenBlob {
  readonly digest: string;
  readonly sizeBytes: number;
}

/** `sha256:HEX` of a store's error "content sha256:… already exists", which is the one way it tells. */
const DIGEST = /sha256:[0-9a-f]{64}/;

/**
 * Writes a blob under a ref; what an earlier attempt left there is thrown away. containerd digests the bytes
 * as they come, so nobody has to read them twice.
 */
export async function writeBlob(
  channel: GrpcChannel,
  headers: GrpcHeaders,
  source: BlobSource,
  signal?: AbortSignal,
): Promise<WrittenBlob> {
  const { write } = Content.method;
  const stream = channel.open(`/${Content.typeName}/${write.name}`, "write content", headers);
  const stop = (): void => {
    stream.close();
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    signal?.throwIfAborted();
    return await exchange(stream, source);
  } catch (cause) {
    if (signal?.aborted === true) throw signal.reason;
    if (kindOf(cause) !== "alreadyExists") throw cause;
    const digest = source.digest ?? DIGEST.exec((cause as Error).message)?.[0];
    if (digest === undefined) throw cause;
    return { digest, sizeBytes: source.sizeBytes };
  } finally {
    signal?.removeEventListener("abort", stop);
    stop();
  }
}

async function exchange(stream: GrpcStream, source: BlobSource): Promise<WrittenBlob> {
  const { ref, sizeBytes } = source;
  const total = BigInt(sizeBytes);
  const expected = source.digest ?? "";
  await request(stream, { action: WriteAction.STAT, ref, total, expected });
  const { offset } = await answer(stream);
  const sending = sendAll(stream, source, offset);
  const receiving = commitAnswer(stream);
  // A failed send says less than the server's own words.
  const [sent, received] = await Promise.allSettled([sending, receiving]);
  if (received.status === "rejected") throw causeOf(sent, received.reason);
  if (sent.status === "rejected") throw sent.reason;
  return { digest: received.value, sizeBytes };
}

function causeOf(sent: PromiseSettledResult<void>, received: unknown): unknown {
  const isEcho = kindOf(received) === "unavailable" && sent.status === "rejected";
  return isEcho ? sent.reason : received;
}

async function sendAll(stream: GrpcStream, source: BlobSource, stale: bigint): Promise<void> {
  try {
    if (stale > 0n) throw new TrineError("conflict", `the write ${source.ref} has begun elsewhere`);
    let offset = 0;
    for await (const chunk of source.chunks) {
      const fields = { action: WriteAction.WRITE, offset: BigInt(offset) };
      await stream.send(encode(fields), dataField(chunk.length), chunk);
      offset += chunk.length;
    }
    if (offset !== source.sizeBytes) {
      throw new TrineError("conflict", `${offset} bytes where ${source.sizeBytes} were to come`);
    }
    await request(stream, {
      action: WriteAction.COMMIT,
      offset: BigInt(offset),
      total: BigInt(offset),
      expected: source.digest ?? "",
      labels: { ...source.labels },
    });
    stream.end();
  } catch (cause) {
    stream.close();
    throw cause;
  }
}

/** Reads the answers until the one to COMMIT; answers the digest. */
async function commitAnswer(stream: GrpcStream): Promise<string> {
  for (;;) {
    const { action, digest } = await answer(stream);
    if (action === WriteAction.COMMIT) return digest;
  }
}

async function answer(
  stream: GrpcStream,
): Promise<{ action: WriteAction; offset: bigint; digest: string }> {
  const message = await stream.receive();
  if (message !== undefined) return fromBinary(WriteContentResponseSchema, message);
  throw new TrineError("unavailable", "write content: containerd ended the call early");
}

function request(
  stream: GrpcStream,
  fields: MessageInitShape<typeof WriteContentRequestSchema>,
): Promise<void> {
  return stream.send(encode(fields));
}

function encode(fields: MessageInitShape<typeof WriteContentRequestSchema>): Uint8Array {
  return toBinary(WriteContentRequestSchema, create(WriteContentRequestSchema, fields));
}

/** Tag and length of field 6, `data`; the bytes themselves follow uncopied. */
function dataField(length: number): Uint8Array {
  const bytes = [0x32];
  let rest = length;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}
