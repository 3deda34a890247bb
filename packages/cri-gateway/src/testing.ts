// For tests: CRI back ends that do what a test wants, on a real HTTP/2 server, and a client that speaks raw gRPC.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:http2";
import type {
  ClientHttp2Session,
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from "node:http2";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { withDeadline } from "@trine/base";
import { ListPodSandboxResponseSchema } from "@trine/proto/cri/api";
import { pino } from "pino";
import type { ViewsGiver } from "./container-views.ts";
import { Gateway } from "./gateway.ts";
import type { GatewayCall } from "./gateway.ts";
import { FrameReader, frameOf } from "./grpc-frame.ts";
import { metadataOf } from "./grpc-status.ts";
import { METHODS } from "./methods.ts";
import type { RoutingConfig } from "./routing.ts";
import type { ServerLimits } from "./server.ts";
import { stringAt } from "./wire.ts";

export { METHODS } from "./methods.ts";

/** A log nobody reads. */
export const QUIET = pino({ level: "silent" });

export const WAIT_MS = 20_000;

/** A request as it came to a back end. */
export interface Received {
  readonly method: string;
  readonly message: Buffer;
  readonly headers: IncomingHttpHeaders;
  readonly stream: ServerHttp2Stream;
}

/** Messages to answer with, or a status; undefined: the stream is the test's to go on with. */
export type Reply =
  | readonly Uint8Array[]
  | {
      readonly status: number;
      readonly message?: string;
      readonly trailers?: Record<string, string>;
    }
  | undefined;
export type Behaviour = (request: Received) => Reply | Promise<Reply>;

/** A CRI server that answers by a table of methods, Unimplemented elsewhere; lists are empty until it says otherwise. */
export class FakeBackEnd {
  readonly socket: string;
  readonly received: Received[] = [];
  methods: Record<string, Behaviour>;
  #server: Http2Server | undefined;
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(socket: string, methods: Record<string, Behaviour> = {}) {
    this.socket = socket;
    const empty = (): Reply => [Buffer.alloc(0)];
    const lists = {
      ListPodSandbox: empty,
      ListContainers: empty,
      ListImages: empty,
      Status: empty,
    };
    this.methods = { ...lists, ...methods };
  }

  async start(): Promise<this> {
    const server = createServer();
    server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("error", () => {
        session.destroy();
      });
    });
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.on("error", () => undefined);
      void this.#serve(stream, headers);
    });
    await rm(this.socket, { force: true });
    server.listen(this.socket);
    await once(server, "listening");
    this.#server = server;
    return this;
  }

  /** Cuts every connection, as a crash does. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  calls(method: string): Received[] {
    return this.received.filter((each) => each.method === method);
  }

  async #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const path = headers[":path"] ?? "";
    const method = path.slice(path.lastIndexOf("/") + 1);
    const reader = new FrameReader();
    const messages: Buffer[] = [];
    for await (const chunk of stream) messages.push(...reader.take(chunk as Buffer));
    const request = { method, message: messages[0] ?? Buffer.alloc(0), headers, stream };
    this.received.push(request);
    const reply = await (this.methods[method] ?? unimplemented)(request);
    if (reply !== undefined && !stream.closed) answer(stream, reply);
  }
}

const unimplemented: Behaviour = ({ method }) => ({
  status: 12,
  message: `unknown method ${method}`,
});

function answer(stream: ServerHttp2Stream, reply: Exclude<Reply, undefined>): void {
  const type = { ":status": 200, "content-type": "application/grpc" };
  if ("status" in reply) {
    const message = reply.message === undefined ? {} : { "grpc-message": reply.message };
    const trailers = { "grpc-status": String(reply.status), ...message, ...reply.trailers };
    stream.respond({ ...type, ...trailers }, { endStream: true });
    return;
  }
  stream.respond(type, { waitForTrailers: true });
  stream.once("wantTrailers", () => {
    stream.sendTrailers({ "grpc-status": "0" });
  });
  for (const message of reply) stream.write(frameOf(message));
  stream.end();
}

export interface ClientAnswer {
  readonly messages: Buffer[];
  readonly code: number;
  readonly message: string;
  readonly trailers: Record<string, string | string[]>;
  readonly headers: Record<string, string | string[]>;
}

/** A client of gRPC in raw bytes. */
export class RawClient {
  readonly session: ClientHttp2Session;

  constructor(socket: string) {
    this.session = connect("http://localhost", { createConnection: () => connectSocket(socket) });
    this.session.on("error", () => undefined);
  }

  /** Starts a call; the request is the caller's to write. */
  open(method: string, headers: Record<string, string> = {}): OpenCall {
    const path = [...METHODS.keys()].find((each) => each.endsWith(`/${method}`)) ?? method;
    return new OpenCall(this.session, { ":path": path, ...headers });
  }

  async raw(method: string, message: Uint8Array, headers = {}): Promise<ClientAnswer> {
    const call = this.open(method, headers);
    call.stream.end(frameOf(message));
    return withDeadline(method, WAIT_MS, call.answer);
  }

  /** A call with the one message of its answer. */
  async call<I extends DescMessage, O extends DescMessage>(
    method: string,
    schemas: readonly [I, O],
    request: MessageInitShape<I>,
    headers: Record<string, string> = {},
  ): Promise<ClientAnswer & { value: MessageShape<O> }> {
    const bytes = toBinary(schemas[0], create(schemas[0], request));
    const answered = await this.raw(method, bytes, headers);
    const value = fromBinary(schemas[1], answered.messages[0] ?? Buffer.alloc(0));
    return { ...answered, value };
  }

  close(): void {
    this.session.destroy();
  }
}

export class OpenCall {
  readonly stream;
  readonly messages: Buffer[] = [];
  readonly answer: Promise<ClientAnswer>;

  constructor(session: ClientHttp2Session, headers: Record<string, string>) {
    const type = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
    this.stream = session.request({ ...type, ...headers });
    const reader = new FrameReader();
    let [trailers, first] = [{}, {}] as Record<string, string | string[]>[];
    this.stream.on("response", (fields) => (first = trailers = metadataOf(fields)));
    this.stream.on("trailers", (fields: IncomingHttpHeaders) => (trailers = metadataOf(fields)));
    this.stream.on("data", (chunk: Buffer) => this.messages.push(...reader.take(chunk)));
    this.stream.on("error", () => undefined);
    const closed = new Promise((resolve) => this.stream.once("close", resolve));
    this.answer = closed.then(() => ({
      messages: this.messages,
      code: Number(trailers?.["grpc-status"] ?? -1),
      message: String(trailers?.["grpc-message"] ?? ""),
      trailers: trailers ?? {},
      headers: first ?? {},
    }));
  }
}

interface RigOptions {
  routing?: Partial<RoutingConfig>;
  limits?: Partial<ServerLimits>;
  views?: ViewsGiver;
}

/** A gateway with back ends a and b, and a client; all of it ends with `stop`. */
export class Rig {
  readonly dir: string;
  readonly backEnds: Record<string, FakeBackEnd> = {};
  readonly seen: GatewayCall[] = [];
  gateway!: Gateway;
  client!: RawClient;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async start(
    behaviours: Record<string, Record<string, Behaviour>>,
    options: RigOptions & { absent?: string[] } = {},
  ): Promise<Rig> {
    const rig = new Rig(await mkdtemp(join(tmpdir(), "trine-gateway-")));
    for (const [name, methods] of Object.entries(behaviours)) {
      const backEnd = new FakeBackEnd(join(rig.dir, `${name}.sock`), methods);
      rig.backEnds[name] = backEnd;
      if (options.absent?.includes(name) !== true) await backEnd.start();
    }
    await rig.startGateway(options);
    return rig;
  }

  get socket(): string {
    return join(this.dir, "cri.sock");
  }

  backEnd(name: string): FakeBackEnd {
    const found = this.backEnds[name];
    if (found === undefined) throw new Error(`no back end ${name}`);
    return found;
  }

  async startGateway(options: RigOptions = {}): Promise<void> {
    const config = {
      backEnds: Object.entries(this.backEnds).map(([name, { socket }]) => ({ name, socket })),
      rules: [],
      untrusted: { handler: "", backEnd: "", hostAccess: "refuse" as const },
      ...options.routing,
      socket: this.socket,
      group: "",
      streamAddress: "127.0.0.1:0",
    };
    const { limits, views } = options;
    this.gateway = await Gateway.start({
      config,
      ...{ log: QUIET, views },
      onCall: (call) => this.seen.push(call),
      ...(limits === undefined ? {} : { limits }),
    });
    this.client = new RawClient(this.socket);
  }

  async stopGateway(): Promise<void> {
    this.client.close();
    await this.gateway.stop();
  }

  async stop(): Promise<void> {
    await this.stopGateway();
    for (const backEnd of Object.values(this.backEnds)) await backEnd.stop();
    await rm(this.dir, { recursive: true });
  }
}

/** Lists sandboxes of these ids, by the id that is asked for. */
export function sandboxes(...ids: string[]): Behaviour {
  return ({ message }) => {
    const wanted = ids.filter((id) => id.startsWith(stringAt(message, 1, 1)));
    const items = wanted.map((id) => ({
      id,
      metadata: { name: id, uid: id, namespace: "n", attempt: 0 },
      labels: { app: id },
    }));
    return [
      toBinary(ListPodSandboxResponseSchema, create(ListPodSandboxResponseSchema, { items })),
    ];
  };
}
