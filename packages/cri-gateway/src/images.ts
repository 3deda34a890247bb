import { TrineError, abortable, kindOf, messageOf } from "@trine/base";
import { BackEndFailure, CODE } from "./grpc-status.ts";
import type { BackEnd, Metadata } from "./back-end.ts";
import type { ContainerViews } from "./container-views.ts";
import { joinWork } from "./join-work.ts";
import { IMAGE_SERVICE } from "./methods.ts";
import type { NodeState } from "./node-state.ts";
import { containerRecord, metadataKey } from "./registry.ts";
import { chooseForImage, chooseForPod } from "./routing.ts";
import type { ServerCall } from "./server-call.ts";
import { UrlPulls } from "./url-images.ts";
import type { UrlImages } from "./url-images.ts";
import { bytesField, itemsAt, messageAt, stringAt } from "./wire.ts";

/** Pulls remembered: more than a node has images with credentials. */
const MAX_PULLS = 1024;
/** No pull of ours takes this long: a back end that hangs is asked anew after it. */
const LONGEST_PULL_MS = 60 * 60_000;

interface Pull {
  readonly image: Buffer;
  readonly auth: Buffer | undefined;
}

/**
 * Image calls on a node with several stores. Credentials of pulls are kept in memory only, for the back end of a container whose
 * image was pulled into another's store.
 */
export class Images {
  readonly #node: NodeState;
  /** By the name that was pulled and by the id that was answered. */
  readonly #pulls = new Map<string, Pull>();
  /** Pulls of our own under way, by back end and image. */
  readonly #pulling = new Map<string, Promise<Buffer>>();
  readonly #closing = new AbortController();
  readonly #urls: UrlPulls | undefined;
  readonly #views: ContainerViews | undefined;

  constructor(node: NodeState, urls?: UrlImages, views?: ContainerViews) {
    this.#node = node;
    this.#views = views;
    if (urls !== undefined) this.#urls = new UrlPulls(urls);
  }

  /**
   * The back end a rule or the ImageSpec's handler names is the one that is asked. Else the first that has the image answers, in
   * the order of the configuration: a container's back end that lacks it pulls it then.
   */
  async status(call: ServerCall): Promise<void> {
    const image = messageAt(call.message, 1);
    const named = this.#namedFor(image);
    const backEnds = named === undefined ? this.#node.backEnds : [named];
    const asked = await Promise.allSettled(
      backEnds.map((backEnd) => this.#node.ask(backEnd, call.path, call.message, call)),
    );
    const answers = asked.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const found = answers.find((answer) => itemsAt(answer, 1).length > 0);
    const failure = asked.find((each) => each.status === "rejected");
    if (found === undefined && failure !== undefined) throw failure.reason;
    call.reply(found ?? answers[0] ?? Buffer.alloc(0));
  }

  async pull(call: ServerCall): Promise<void> {
    const urls = this.#urls;
    if (urls?.isOne(stringAt(call.message, 1, 1)) === true) {
      const { backEnd } = urls;
      const to = backEnd === "" ? this.#node.defaultBackEnd : this.#node.backEnd(backEnd);
      await urls.pull(call, to, this.#untilClosed());
      return;
    }
    await this.#node.settled();
    const backEnd = this.#pullTarget(call);
    call.backEnd = backEnd.name;
    const answer = await backEnd.unary(call.path, call.message, call.options);
    const image = messageAt(call.message, 1);
    const auth = itemsAt(call.message, 2).length === 0 ? undefined : messageAt(call.message, 2);
    this.#remember([stringAt(image, 1), stringAt(answer, 1)], { image, auth });
    call.reply(answer);
  }

  /** From every store; what one does not have counts as removed. */
  async remove(call: ServerCall): Promise<void> {
    const name = stringAt(call.message, 1, 1);
    const asked = await Promise.allSettled(
      this.#node.backEnds.map((backEnd) => this.#removeFrom(backEnd, name, call)),
    );
    for (const each of asked) if (each.status === "rejected") throw each.reason;
    call.reply(Buffer.alloc(0));
  }

  /** A container goes to its sandbox's back end, which pulls the image first where only another one has it. */
  async create(call: ServerCall): Promise<void> {
    const id = stringAt(call.message, 1);
    const sandbox = await this.#node.locate("sandbox", id, call);
    const backEnd =
      sandbox === undefined ? this.#node.defaultBackEnd : this.#node.backEnd(sandbox.backEnd);
    call.backEnd = backEnd.name;
    const config = messageAt(call.message, 2);
    const given = this.#views?.creation(backEnd.name, sandbox, call.message);
    const message = given?.message ?? call.message;
    let answer: Buffer;
    try {
      answer = await this.#make(backEnd, config, call, message);
    } catch (cause) {
      // One that is away or was not waited for may have made it, or may make it yet.
      if (isRefused(cause)) given?.giveUp();
      throw cause;
    }
    const made = stringAt(answer, 1);
    given?.keep(made);
    this.#learn(backEnd, () => containerRecord(made, sandbox?.id ?? id, config));
    call.reply(answer);
  }

  async #make(
    backEnd: BackEnd,
    config: Buffer,
    call: ServerCall,
    message: Buffer,
  ): Promise<Buffer> {
    try {
      return await backEnd.unary(call.path, message, call.options);
    } catch (cause) {
      if (!(await this.#pullMissing(backEnd, config, call, cause))) throw cause;
      return backEnd.unary(call.path, message, call.options);
    }
  }

  /** It is made: what its back end could read and we cannot fails nobody's call, and the next list shows it. */
  #learn({ name }: BackEnd, record: () => Buffer): void {
    try {
      this.#node.registry.learn("container", name, record());
    } catch (cause) {
      if (kindOf(cause) !== "malformed") throw cause;
      this.#node.log.warn({ backEnd: name, err: messageOf(cause) }, "a container was not noted");
    }
  }

  close(): void {
    this.#closing.abort(new TrineError("unavailable", "the gateway is stopping"));
  }

  /** False when the image is not what the creation failed for: nothing was changed. */
  async #pullMissing(
    backEnd: BackEnd,
    config: Buffer,
    call: ServerCall,
    cause: unknown,
  ): Promise<boolean> {
    const isRefused = cause instanceof BackEndFailure && !cause.isAbsent;
    if (this.#node.backEnds.length === 1 || !isRefused || call.signal.aborted) return false;
    const spec = messageAt(config, 2);
    const [name, userName] = [stringAt(spec, 1), stringAt(spec, 18)];
    const request = bytesField(1, bytesField(1, name));
    const status = await backEnd.unary(`${IMAGE_SERVICE}ImageStatus`, request, call.options);
    if (name === "" || itemsAt(status, 1).length > 0) return false;
    const pull = this.#pulls.get(name) ?? this.#pulls.get(userName);
    // An id alone cannot be pulled: by the name it was pulled by, or the pod's own.
    const image = pull?.image ?? bytesField(1, userName === "" ? name : userName);
    this.#node.log.info(
      { backEnd: backEnd.name, image: stringAt(image, 1) },
      "pulling what it lacks",
    );
    const auth = pull?.auth === undefined ? [] : [bytesField(2, pull.auth)];
    const pod = itemsAt(call.message, 3).map((sandboxConfig) => bytesField(3, sandboxConfig));
    const message = Buffer.concat([bytesField(1, image), ...auth, ...pod]);
    // Longer than kubelet waits for a container: its next request joins the pull.
    const key = JSON.stringify([backEnd.name, image.toString("base64")]);
    const work = joinWork(this.#pulling, key, () => this.#pull(backEnd, message, call.metadata));
    await abortable(call.path, call.signal, work);
    return true;
  }

  #pull(backEnd: BackEnd, message: Buffer, metadata: Metadata): Promise<Buffer> {
    const signal = this.#untilClosed();
    return backEnd.unary(`${IMAGE_SERVICE}PullImage`, message, { metadata, signal });
  }

  #untilClosed(): AbortSignal {
    return AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LONGEST_PULL_MS)]);
  }

  /** By its sandbox where that is known, else by the rules on the sandbox's configuration, as the sandbox went. */
  #pullTarget(call: ServerCall): BackEnd {
    const image = messageAt(call.message, 1);
    const named = this.#namedFor(image);
    if (named !== undefined) return named;
    const config = messageAt(call.message, 3);
    const [sandbox] =
      config.length === 0 ? [] : this.#node.registry.sandboxesOf(metadataKey(messageAt(config, 1)));
    if (sandbox !== undefined) return this.#node.backEnd(sandbox.backEnd);
    const handler = stringAt(image, 19);
    const choice = chooseForPod(this.#node.routing, { config, handler }, (name) =>
      this.#node.reporting(name),
    );
    return this.#node.backEnd(choice.backEnd);
  }

  /** By the image's name, or by the handler its ImageSpec carries (field 19, a feature gate of kubelet's). */
  #namedFor(image: Buffer): BackEnd | undefined {
    const byName = chooseForImage(this.#node.routing, stringAt(image, 1));
    if (byName !== undefined) return this.#node.backEnd(byName);
    const handler = stringAt(image, 19);
    if (handler === "") return undefined;
    const rule = this.#node.routing.rules.find((each) => each.handler === handler);
    const backEnd = rule?.backEnd ?? this.#node.reporting(handler);
    return backEnd === undefined ? undefined : this.#node.backEnd(backEnd);
  }

  async #removeFrom(backEnd: BackEnd, name: string, call: ServerCall): Promise<void> {
    try {
      await backEnd.unary(call.path, call.message, call.options);
    } catch (cause) {
      if (!(cause instanceof BackEndFailure)) throw cause;
      if (cause.code === CODE.notFound) return;
      // One that is away and did not have it has nothing to remove.
      const known = this.#node.registry.images(backEnd.name, name);
      if (!cause.isAbsent || known === undefined || known.length > 0) throw cause;
    }
  }

  #remember(names: readonly string[], pull: Pull): void {
    for (const name of names.filter((each) => each !== "")) {
      this.#pulls.delete(name);
      this.#pulls.set(name, pull);
    }
    for (const name of this.#pulls.keys()) {
      if (this.#pulls.size <= MAX_PULLS) break;
      this.#pulls.delete(name);
    }
  }
}

/** Codes of calls that may have been done all the same. */
const UNSETTLED: readonly number[] = [CODE.canceled, CODE.deadlineExceeded];

/** A back end has said that it did not do it. */
function isRefused(cause: unknown): boolean {
  return cause instanceof BackEndFailure && !cause.isAbsent && !UNSETTLED.includes(cause.code);
}
