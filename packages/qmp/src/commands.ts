import * as v from "valibot";

// Checked by hand against QEMU 7.2's schema (query-qmp-schema). QEMU may answer more than is listed here.
// Loose are those whose whole answer goes into what people are sent for help.
// Integers above 2^53 are rounded; "not known" in guest-stats is 2^64 - 1 and stays far above any real value.

const nothing = v.object({});
const counter = v.number();

const blockStats = v.object({
  rd_bytes: counter,
  wr_bytes: counter,
  rd_operations: counter,
  wr_operations: counter,
  flush_operations: counter,
  rd_total_time_ns: counter,
  wr_total_time_ns: counter,
  flush_total_time_ns: counter,
  failed_rd_operations: counter,
  failed_wr_operations: counter,
});

/** What each command returns. */
export const RETURNS = {
  qmp_capabilities: nothing,
  set_link: nothing,
  "query-version": v.object({
    qemu: v.object({ major: v.number(), minor: v.number(), micro: v.number() }),
    package: v.string(),
  }),
  "query-status": v.looseObject({ status: v.string(), running: v.boolean() }),
  "query-kvm": v.object({ enabled: v.boolean(), present: v.boolean() }),
  "query-cpus-fast": v.array(
    v.looseObject({ "cpu-index": v.number(), "qom-path": v.string(), "thread-id": v.number() }),
  ),
  "query-block": v.array(
    v.looseObject({
      device: v.string(),
      qdev: v.optional(v.string()),
      "io-status": v.optional(v.picklist(["ok", "failed", "nospace"])),
      inserted: v.optional(
        v.looseObject({ "node-name": v.optional(v.string()), drv: v.string(), ro: v.boolean() }),
      ),
    }),
  ),
  "query-blockstats": v.array(
    v.object({
      device: v.optional(v.string()),
      qdev: v.optional(v.string()),
      "node-name": v.optional(v.string()),
      stats: blockStats,
      /** The node it reads from. */
      parent: v.optional(v.object({ "node-name": v.optional(v.string()) })),
    }),
  ),
  "query-chardev": v.array(v.looseObject({ label: v.string(), "frontend-open": v.boolean() })),
  "query-memory-size-summary": v.looseObject({ "base-memory": v.number() }),
  "query-balloon": v.object({ actual: v.number() }),
  "query-hotpluggable-cpus": v.array(
    v.object({
      type: v.string(),
      props: v.record(v.string(), v.number()),
      "qom-path": v.optional(v.string()),
    }),
  ),
  "query-cpu-model-expansion": v.object({
    model: v.object({ name: v.string(), props: v.optional(v.record(v.string(), v.unknown())) }),
  }),
  "query-named-block-nodes": v.array(
    v.object({
      "node-name": v.optional(v.string()),
      file: v.string(),
      image: v.optional(v.object({ "virtual-size": v.number() })),
    }),
  ),
  "query-migrate": v.object({
    status: v.optional(v.string()),
    "error-desc": v.optional(v.string()),
  }),
  "blockdev-add": nothing,
  "blockdev-reopen": nothing,
  "blockdev-del": nothing,
  block_resize: nothing,
  device_add: nothing,
  device_del: nothing,
  migrate: nothing,
  "migrate-incoming": nothing,
  "migrate-set-capabilities": nothing,
  "qom-get": v.unknown(),
  "qom-set": nothing,
  stop: nothing,
  cont: nothing,
  quit: nothing,
  system_powerdown: nothing,
  system_reset: nothing,
  "set-action": nothing,
  "announce-self": nothing,
} as const;

export type QmpCommandName = keyof typeof RETURNS;

type Options = Readonly<Record<string, unknown>>;

interface QmpArguments {
  readonly "query-named-block-nodes": { readonly flat: boolean };
  readonly "blockdev-add": Options;
  readonly "blockdev-reopen": { readonly options: readonly Options[] };
  readonly "blockdev-del": { readonly "node-name": string };
  readonly block_resize: { readonly "node-name": string; readonly size: number };
  readonly device_add: Options;
  readonly device_del: { readonly id: string };
  readonly migrate: { readonly uri: string };
  readonly "migrate-incoming": { readonly uri: string };
  readonly "migrate-set-capabilities": {
    readonly capabilities: readonly { readonly capability: string; readonly state: boolean }[];
  };
  readonly "query-cpu-model-expansion": {
    readonly type: "full";
    readonly model: { readonly name: string };
  };
  readonly set_link: { readonly name: string; readonly up: boolean };
  readonly "announce-self": Readonly<Record<"initial" | "max" | "rounds" | "step", number>>;
  readonly "set-action": { readonly shutdown: "poweroff" | "pause" };
  readonly "qom-get": { readonly path: string; readonly property: string };
  readonly "qom-set": { readonly path: string; readonly property: string; readonly value: unknown };
}

/** The commands this client knows, with what each takes and gives. */
export type QmpCommands = {
  readonly [K in QmpCommandName]: {
    readonly arguments: K extends keyof QmpArguments
      ? QmpArguments[K]
      : Readonly<Record<string, never>>;
    readonly returns: v.InferOutput<(typeof RETURNS)[K]>;
  };
};
