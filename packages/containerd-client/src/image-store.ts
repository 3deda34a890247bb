import { fromBinary } from "@bufbuild/protobuf";
import type { OnRequest } from "@trine/base";
import { Containers } from "@trine/proto/containers";
import { Content, ReadContentResponseSchema } from "@trine/proto/content";
import { Diff } from "@trine/proto/diff";
import { Images } from "@trine/proto/images";
import { Leases } from "@trine/proto/leases";
import { Snapshots } from "@trine/proto/snapshots";
import { GrpcChannel, type GrpcHeaders } from "./grpc-channel.ts";
import { type UnaryClient, createUnaryClient } from "./unary-client.ts";
import { type BlobSource, type WrittenBlob, writeBlob } from "./write-blob.ts";

/** Content is answered in messages of up to a MiB; lists of images are the largest of the others. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

/** containerd's own services about images, in one namespace. */
export interface ImageStore {
  readonly containers: UnaryClient<typeof Containers>;
  readonly content: UnaryClient<typeof Content>;
  readonly images: UnaryClient<typeof Images>;
  readonly leases: UnaryClient<typeof Leases>;
  readonly snapshots: UnaryClient<typeof Snapshots>;
  readonly diff: UnaryClient<typeof Diff>;
  /** The same store; what is made through it belongs to the lease. */
  under(lease: string): ImageStore;
  /** Writes a blob that nobody has digested yet; containerd does. One that is there already is a success. */
  write(source: BlobSource, signal?: AbortSignal): Promise<WrittenBlob>;
  /** The bytes of a blob, in order, as containerd cuts them. */
  read(digest: string, signal?: AbortSignal): AsyncGenerator<Uint8Array, void>;
  close(): void;
}

/** Connects at the first call; calls fail with kind `unavailable` while nobody listens on the socket. */
export function createImageStore(
  socket: string,
  namespace: string,
  onRequest?: OnRequest,
): ImageStore {
  const channel = new GrpcChannel(socket, MAX_MESSAGE_BYTES, onRequest);
  return storeOf(channel, { "containerd-namespace": namespace });
}

function storeOf(channel: GrpcChannel, headers: GrpcHeaders): ImageStore {
  return {
    containers: createUnaryClient(channel, Containers, headers),
    content: createUnaryClient(channel, Content, headers),
    images: createUnaryClient(channel, Images, headers),
    leases: createUnaryClient(channel, Leases, headers),
    snapshots: createUnaryClient(channel, Snapshots, headers),
    diff: createUnaryClient(channel, Diff, headers),
    under: (lease) => storeOf(channel, { ...headers, "containerd-lease": lease }),
    write: (source, signal) => writeBlob(channel, headers, source, signal),
    read: (digest, signal) => readBlob(channel, headers, digest, signal),
    close() {
      channel.close();
    },
  };
}

async function* readBlob(
  channel: GrpcChannel,
  headers: GrpcHeaders,
  digest: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const { read } = Content.method;
  const stream = channel.open(`/${Content.typeName}/${read.name}`, "read content", headers);
  const stop = (): void => {
    stream.close();
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    signal?.throwIfAborted();
    const request = new TextEncoder().encode(digest);
    // Field 1, a string: a digest is shorter than 128 bytes.
    await stream.send(Uint8Array.of(0x0a, request.length), request);
    stream.end();
    for (;;) {
      const message = await stream.receive();
      if (message === undefined) return;
      yield fromBinary(ReadContentResponseSchema, message).data;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    stop();
  }
}
