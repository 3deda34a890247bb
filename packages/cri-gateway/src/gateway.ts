import { readFile } from "node:fs/promises";
import { TrineError, quote } from "@trine/base";
import type { Logger } from "pino";
import { callById } from "./by-id.ts";
import { ContainerViews } from "./container-views.ts";
import type { ViewsGiver } from "./container-views.ts";
import { callEvents } from "./events.ts";
import { callImageFsInfo } from "./image-fs-info.ts";
import type { LastInfo } from "./image-fs-info.ts";
import { Images } from "./images.ts";
import { callList, callStream } from "./merged-lists.ts";
import { METHODS } from "./methods.ts";
import type { How } from "./methods.ts";
import { NodeState } from "./node-state.ts";
import { relay } from "./relay.ts";
import { Routes } from "./routes.ts";
import type { Route } from "./routes.ts";
import type { RoutingConfig } from "./routing.ts";
import { SandboxRunner } from "./run-sandbox.ts";
import { GrpcServer } from "./server.ts";
import type { ServerLimits } from "./server.ts";
import type { ServerCall } from "./server-call.ts";
import { StreamRelay } from "./stream-relay.ts";
import type { UrlImages } from "./url-images.ts";
import { callBroadcast, callDescriptors, callStatus } from "./status.ts";

export interface GatewayConfig extends RoutingConfig {
  readonly socket: string;
  /** Name or number of the group that may connect; empty: root alone. */
  readonly group: string;
  /** HOST:PORT of streaming URLs of our own; port 0: any. Absent: there are none. */
  readonly streamAddress?: string | undefined;
}

/** One call that is over: `code` is gRPC's; `backEnd` is empty where several were asked, or none. */
export interface GatewayCall {
  readonly method: string;
  readonly backEnd: string;
  readonly code: number;
  readonly seconds: number;
  /** Back ends that were left out of a list. */
  readonly absent: readonly string[];
}

export interface GatewayDeps {
  readonly config: GatewayConfig;
  readonly log: Logger;
  readonly onCall: (call: GatewayCall) => void;
  readonly limits?: Partial<ServerLimits>;
  /** Absent: names of images are the back ends' alone. */
  readonly urlImages?: UrlImages | undefined;
  /** Absent: containers are made as they are asked for. */
  readonly views?: ViewsGiver | undefined;
}

/** gRPC's code of what it has no other for, and the last one it has. */
const UNKNOWN = 2;
const LAST_CODE = 16;

/** A CRI v1 server in front of others (docs/reference/gateway.md). */
export class Gateway {
  readonly #node: NodeState;
  readonly #images: Images;
  readonly #routes: Routes;
  readonly #runner: SandboxRunner;
  readonly #server: GrpcServer;
  readonly #fsInfo: LastInfo = new Map();
  readonly #streams: StreamRelay | undefined;
  readonly #views: ContainerViews | undefined;

  private constructor({ config, log, onCall, limits, urlImages, views }: GatewayDeps) {
    this.#node = new NodeState(config, log, async (backEnd) => this.#views?.readAll(backEnd));
    if (views !== undefined) this.#views = new ContainerViews(this.#node, views);
    this.#images = new Images(this.#node, urlImages, this.#views);
    this.#routes = new Routes(this.#node);
    this.#runner = new SandboxRunner(this.#node, this.#routes);
    const { streamAddress = "" } = config;
    if (streamAddress !== "") this.#streams = new StreamRelay(streamAddress, log);
    this.#server = new GrpcServer({
      handle: (call, how) => this.#answer(call, how),
      done: ({ path, backEnd, code = UNKNOWN, absent }, seconds) => {
        // A name nobody knows, or a code there is not, is not a metric's label.
        const method = METHODS.has(path) ? path.slice(path.lastIndexOf("/") + 1) : "other";
        onCall({ method, backEnd, code: code > LAST_CODE ? UNKNOWN : code, seconds, absent });
      },
      ...(limits === undefined ? {} : { limits }),
    });
  }

  /** Listens at once; back ends that are away are waited for by their own calls. */
  static async start(deps: GatewayDeps): Promise<Gateway> {
    const gateway = new Gateway(deps);
    try {
      for (const backEnd of gateway.#node.backEnds) backEnd.connect();
      await gateway.#server.listen(deps.config.socket, await groupId(deps.config.group));
    } catch (cause) {
      await gateway.stop();
      throw cause;
    }
    return gateway;
  }

  /** Each back end, and why it is not connected; undefined = it is. */
  backEnds(): { name: string; down: string | undefined }[] {
    return this.#node.backEnds.map(({ name, down }) => ({ name, down }));
  }

  /** By which rule each sandbox is where it is, and which pods were refused. */
  routes(): Route[] {
    return this.#routes.list();
  }

  /** Ends every call; the back ends' pods are untouched. */
  async stop(): Promise<void> {
    this.#runner.close();
    this.#images.close();
    this.#views?.close();
    await this.#server.close();
    await this.#streams?.close();
    this.#node.close();
  }

  #answer(call: ServerCall, how: How): Promise<void> {
    const node = this.#node;
    switch (how.how) {
      case "default":
        return relay(call, node.defaultBackEnd);
      case "sandbox":
      case "container":
        return this.#byId(call, how);
      case "run":
        return this.#runner.run(call, how);
      case "create":
        return this.#images.create(call);
      case "list":
        return callList(node, call, how.list);
      case "stream":
        return callStream(node, call, how.list);
      case "broadcast":
        return callBroadcast(node, call);
      case "events":
        return callEvents(node, call);
      case "status":
        return callStatus(node, call);
      case "descriptors":
        return callDescriptors(node, call);
      case "imageStatus":
        return this.#images.status(call);
      case "pullImage":
        return this.#images.pull(call);
      case "removeImage":
        return this.#images.remove(call);
      case "imageFsInfo":
        return callImageFsInfo(node, call, this.#fsInfo);
    }
  }

  async #byId(
    call: ServerCall,
    how: Extract<How, { how: "sandbox" | "container" }>,
  ): Promise<void> {
    if (this.#views !== undefined) call.message = await this.#views.before(call);
    await callById(this.#node, call, how, this.#streams);
    if (call.code === 0) this.#views?.after(call);
  }
}

/** Of /etc/group. Kind `invalid` for a name that is not there. */
async function groupId(group: string): Promise<number | undefined> {
  if (group === "") return undefined;
  if (/^\d+$/.test(group)) return Number(group);
  const lines = (await readFile("/etc/group", "utf8")).split("\n");
  const line = lines.find((each) => each.startsWith(`${group}:`));
  if (line !== undefined) return Number(line.split(":")[2]);
  throw new TrineError("invalid", `gateway.group: there is no group ${quote(group)}`);
}
