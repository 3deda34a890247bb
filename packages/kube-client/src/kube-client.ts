import { TrineError, sleep } from "@trine/base";
import { failure, isFailedTest, retryAfterMs } from "./answers.ts";
import type { KubeConnection } from "./connection.ts";
import { isObject, listedObject, parseObject, storedObject } from "./decode.ts";
import type { JsonPatchOperation } from "./json-patch.ts";
import type {
  DeleteOptions,
  KubeApi,
  KubeList,
  Selection,
  WatchEvent,
  WriteOptions,
} from "./kube-api.ts";
import type { KubeObject, Place, Stored } from "./object.ts";
import { type Query, pathOf, selectionQuery } from "./paths.ts";
import { type Resource, apiVersionOf } from "./resource.ts";
import { StatusError } from "./status-error.ts";
import { type HttpAnswer, type HttpCall, Transport } from "./transport.ts";
import { readWatch } from "./watch.ts";

const DEADLINE_MS = 30_000;
/** An object is a few MiB at most (etcd's own limit is 1.5). */
const MAX_OBJECT_BYTES = 16 * 1024 * 1024;
/** A page of `PAGE` objects of the usual size has a tenth of it. */
const MAX_PAGE_BYTES = 64 * 1024 * 1024;
const PAGE = 250;
/** Of reads that the server has no time for. */
const RETRIES = 3;
/** The server ends a watch after this time, give or take; a client that hears nothing for longer does. */
const WATCH_SECONDS = 300;

type Access = Pick<HttpCall, "body" | "contentType" | "accept"> & { readonly signal?: AbortSignal };

/** The API server over HTTPS. One a process: it keeps few connections and shares them. */
export class KubeClient implements KubeApi {
  /** The namespace of the pod that we run in, or of the kubeconfig's context. */
  readonly namespace: string;
  readonly #transport: Transport;

  constructor(connection: KubeConnection) {
    this.namespace = connection.namespace;
    this.#transport = new Transport(connection);
  }

  async get<T extends KubeObject>(
    resource: Resource<T>,
    at: Place,
    signal?: AbortSignal,
  ): Promise<Stored<T>> {
    return storedObject(
      resource,
      await this.request("GET", pathOf(resource, at), withSignal({}, signal)),
    );
  }

  /** In pages: a list of any length costs the memory of its objects and of one page. */
  async list<T extends KubeObject>(
    resource: Resource<T>,
    within: Selection,
    signal?: AbortSignal,
  ): Promise<KubeList<T>> {
    try {
      return await this.#pages(resource, within, PAGE, signal);
    } catch (cause) {
      // The list was so long that its first page grew too old: all at once.
      if (!(cause instanceof StatusError) || cause.kind !== "expired") throw cause;
      return this.#pages(resource, within, undefined, signal);
    }
  }

  async create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<Stored<T>> {
    const { namespace } = object.metadata ?? {};
    return this.#write("POST", resource, inNamespace(namespace), object, options);
  }

  async update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<Stored<T>> {
    const { namespace, name } = object.metadata ?? {};
    if (name === undefined) {
      throw new TrineError("internal", `update of ${resource.plural}: no name`);
    }
    const at = { ...inNamespace(namespace), name, ...subresourceOf(options) };
    return this.#write("PUT", resource, at, object, options);
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    at: Place,
    operations: readonly JsonPatchOperation[],
    options: WriteOptions = {},
  ): Promise<Stored<T>> {
    const path = pathOf(resource, { ...at, ...subresourceOf(options) }, dryRunQuery(options));
    const patch = { body: JSON.stringify(operations), contentType: "application/json-patch+json" };
    try {
      const answer = await this.request("PATCH", path, withSignal(patch, options.signal));
      return storedObject(resource, answer);
    } catch (cause) {
      if (cause instanceof StatusError && isFailedTest(cause, operations)) {
        throw new StatusError(`PATCH ${pathOf(resource, at)}`, cause.status, "conflict");
      }
      throw cause;
    }
  }

  /**
   * Server-side apply: the object's fields are the manager's from now on, made or changed. Kind `conflict` where another
   * manager has said something else of one, unless it is forced.
   */
  async apply<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions & { readonly manager: string; readonly force?: boolean },
  ): Promise<Stored<T>> {
    const { namespace, name } = object.metadata ?? {};
    if (name === undefined) {
      throw new TrineError("internal", `apply of ${resource.plural}: no name`);
    }
    const { manager: fieldManager, force = false } = options;
    const query = { fieldManager, force, ...dryRunQuery(options) };
    const at = { ...inNamespace(namespace), name, ...subresourceOf(options) };
    const path = pathOf(resource, at, query);
    const kind = { apiVersion: apiVersionOf(resource), kind: resource.kind };
    const body = JSON.stringify({ ...kind, ...object });
    const patch = { body, contentType: "application/apply-patch+yaml" };
    return storedObject(
      resource,
      await this.request("PATCH", path, withSignal(patch, options.signal)),
    );
  }

  async delete(resource: Resource, at: Place, options: DeleteOptions = {}): Promise<void> {
    const { uid, resourceVersion, propagationPolicy, gracePeriodSeconds, dryRun } = options;
    const body = JSON.stringify({
      apiVersion: "v1",
      kind: "DeleteOptions",
      preconditions: { uid, resourceVersion },
      propagationPolicy,
      gracePeriodSeconds,
      ...(dryRun === true && { dryRun: ["All"] }),
    });
    await this.request("DELETE", pathOf(resource, at), withSignal({ body }, options.signal));
  }

  /**
   * Changes since a version, until the server ends the watch, as it does after some minutes. Rejects with kind `expired`
   * where the version is too old: list again.
   */
  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    within: Selection & { readonly resourceVersion: string },
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const timeoutSeconds = Math.ceil(WATCH_SECONDS * (1 + Math.random()));
    const query = {
      ...selectionQuery(within),
      watch: true,
      allowWatchBookmarks: true,
      timeoutSeconds,
      resourceVersion: within.resourceVersion,
    };
    const late = AbortSignal.timeout((timeoutSeconds + 30) * 1000);
    const both = AbortSignal.any([signal, late]);
    const path = pathOf(resource, inNamespace(within.namespace), query);
    const response = await this.#transport.stream({ method: "GET", path }, both);
    yield* readWatch(resource, { what: `watch of ${resource.plural}`, response, signal: both });
  }

  /** Any call with JSON: reviews, discovery. Answers the body's object. */
  async request(method: string, path: string, access: Access = {}): Promise<Fields> {
    const answer = await this.#answer({ method, path, ...access }, MAX_OBJECT_BYTES, access.signal);
    return parseObject(`${method} ${path}`, answer.body);
  }

  /** Ends all connections, whatever they are doing. */
  close(): void {
    this.#transport.close();
  }

  async #write<T extends KubeObject>(
    method: "POST" | "PUT",
    resource: Resource<T>,
    at: Parameters<typeof pathOf>[1],
    object: T,
    options: WriteOptions,
  ): Promise<Stored<T>> {
    const kind = { apiVersion: apiVersionOf(resource), kind: resource.kind };
    const body = JSON.stringify({ ...kind, ...object });
    const path = pathOf(resource, at, dryRunQuery(options));
    const answer = await this.request(method, path, withSignal({ body }, options.signal));
    return storedObject(resource, answer);
  }

  async #pages<T extends KubeObject>(
    resource: Resource<T>,
    within: Selection,
    limit: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<KubeList<T>> {
    const items: Stored<T>[] = [];
    let from: string | undefined;
    for (;;) {
      const query: Query = { ...selectionQuery(within), limit, continue: from };
      const path = pathOf(resource, inNamespace(within.namespace), query);
      const maxBytes = limit === undefined ? 4 * MAX_PAGE_BYTES : MAX_PAGE_BYTES;
      const { body } = await this.#answer({ method: "GET", path }, maxBytes, signal);
      const page = parseObject(`list of ${resource.plural}`, body);
      const { items: found, metadata } = page;
      if (!Array.isArray(found) || !isObject(metadata)) {
        throw new TrineError("unavailable", `list of ${resource.plural}: the answer is no list`);
      }
      for (const item of found) items.push(listedObject(resource, item));
      const { continue: next, resourceVersion } = metadata;
      if (typeof next !== "string" || next === "") {
        return { items, resourceVersion: String(resourceVersion) };
      }
      from = next;
    }
  }

  /** An answer that is none of failure; a read that comes at a bad time is asked again, soon. */
  async #answer(call: HttpCall, maxBytes: number, signal?: AbortSignal): Promise<HttpAnswer> {
    const limits = withSignal({ deadlineMs: DEADLINE_MS, maxBytes }, signal);
    for (let tries = 0; ; tries += 1) {
      const answer = await this.#transport.call(call, limits);
      if (answer.code >= 200 && answer.code < 300) return answer;
      const error = failure(call, answer);
      const afterMs = retryAfterMs(answer);
      if (call.method !== "GET" || tries === RETRIES || afterMs === undefined) throw error;
      await sleep(afterMs, signal);
    }
  }
}

type Fields = Readonly<Record<string, unknown>>;

function withSignal<O extends object>(
  options: O,
  signal: AbortSignal | undefined,
): O & { readonly signal?: AbortSignal } {
  return signal === undefined ? options : { ...options, signal };
}

function inNamespace(namespace: string | undefined): { readonly namespace?: string } {
  return namespace === undefined ? {} : { namespace };
}

function subresourceOf({ subresource }: WriteOptions): { readonly subresource?: string } {
  return subresource === undefined ? {} : { subresource };
}

function dryRunQuery({ dryRun }: WriteOptions): Query {
  return dryRun === true ? { dryRun: "All" } : {};
}
