import { TrineError, kindOf } from "@trine/base";
import type { Engine, Pod, PodRef } from "@trine/engine";
import type { Task } from "@trine/proto/task";
import type { CallContext, ServiceHandlers } from "@trine/ttrpc";
import { toAddExec } from "./exec-spec.ts";
import { toMetricsAny } from "./metrics.ts";

/**
 * containerd's task calls, relayed by the pods' shims (shim.proto says with which metadata). What a shim
 * answers from its own memory never comes here.
 */
export function taskService(engine: Engine, observe: Observer): ServiceHandlers<typeof Task> {
  return timed(handlers(engine), observe);
}

function handlers(engine: Engine): ServiceHandlers<typeof Task> {
  const pod = (ctx: CallContext): Promise<Pod> => engine.pod(podRefOf(ctx.metadata));
  return {
    create: async (request, ctx) => {
      await (
        await pod(ctx)
      ).create({
        id: request.id,
        bundle: request.bundle,
        rootfs: request.rootfs,
        terminal: request.terminal,
        stdin: request.stdin !== "",
      });
      return {};
    },
    start: async (request, ctx) => {
      await (await pod(ctx)).start(request, ctx.signal);
      return {};
    },
    kill: async (request, ctx) => {
      await (await pod(ctx)).kill(request, request);
      return {};
    },
    delete: async (request, ctx) => {
      await (await pod(ctx)).delete(request);
      return {};
    },
    exec: async (request, ctx) => {
      await (await pod(ctx)).addExec(toAddExec(request));
      return {};
    },
    pause: async (request, ctx) => {
      await (await pod(ctx)).pause(request.id, ctx.signal);
      return {};
    },
    resume: async (request, ctx) => {
      await (await pod(ctx)).resume(request.id, ctx.signal);
      return {};
    },
    stats: async (request, ctx) => {
      const stats = await (await pod(ctx)).stats(request.id, ctx.signal);
      return { stats: toMetricsAny(stats) };
    },
    update: async (request, ctx) => {
      const resources = request.resources?.value ?? new Uint8Array();
      await (await pod(ctx)).update(request.id, resources);
      return {};
    },
    checkpoint: () =>
      Promise.reject(new TrineError("unimplemented", "checkpoints are not supported")),
  };
}

type Observer = (method: string, outcome: string, seconds: number) => void;

/** Tells `observe` of every call: its method, `ok` or the kind of its error, and how long it took. */
function timed(of: ServiceHandlers<typeof Task>, observe: Observer): ServiceHandlers<typeof Task> {
  const wrap =
    (method: string, handler: (...args: unknown[]) => Promise<unknown>) =>
    async (...args: unknown[]): Promise<unknown> => {
      const started = performance.now();
      const note = (outcome: string): void => {
        observe(method, outcome, (performance.now() - started) / 1000);
      };
      try {
        const answer = await handler(...args);
        note("ok");
        return answer;
      } catch (cause) {
        note(kindOf(cause));
        throw cause;
      }
    };
  return Object.fromEntries(
    Object.entries(of).map(([method, handler]) => [
      method,
      wrap(method, handler as (...args: unknown[]) => Promise<unknown>),
    ]),
  );
}

function podRefOf(metadata: ReadonlyMap<string, string>): PodRef {
  return {
    namespace: required(metadata, "trine-namespace"),
    sandboxId: required(metadata, "trine-sandbox"),
    address: required(metadata, "trine-address"),
  };
}

function required(metadata: ReadonlyMap<string, string>, key: string): string {
  const value = metadata.get(key);
  if (value === undefined || value === "") {
    throw new TrineError("malformed", `task call without ${key}: only a pod's shim may call here`);
  }
  return value;
}
