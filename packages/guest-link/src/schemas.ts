import { TrineError } from "@trine/base";
import * as v from "valibot";

// What qemu-guest-agent 7.2 answers (its QAPI schema); a later one may say more.

export const infoSchema = v.object({
  version: v.string(),
  supported_commands: v.array(v.object({ name: v.string(), enabled: v.boolean() })),
});

export const execSchema = v.object({ pid: v.pipe(v.number(), v.integer()) });

export const execStatusSchema = v.object({
  exited: v.boolean(),
  exitcode: v.optional(v.number()),
  signal: v.optional(v.number()),
  "out-data": v.optional(v.string(), ""),
  "err-data": v.optional(v.string(), ""),
  "out-truncated": v.optional(v.boolean(), false),
  "err-truncated": v.optional(v.boolean(), false),
});

export const interfacesSchema = v.array(
  v.object({
    name: v.string(),
    "hardware-address": v.optional(v.string()),
    "ip-addresses": v.optional(
      v.array(
        v.object({
          "ip-address": v.string(),
          "ip-address-type": v.picklist(["ipv4", "ipv6"]),
          prefix: v.number(),
        }),
      ),
      [],
    ),
  }),
);

export const osInfoSchema = v.object({
  id: v.optional(v.string()),
  name: v.optional(v.string()),
  "pretty-name": v.optional(v.string()),
  version: v.optional(v.string()),
  "version-id": v.optional(v.string()),
  "kernel-release": v.optional(v.string()),
  "kernel-version": v.optional(v.string()),
  machine: v.optional(v.string()),
});

export const hostNameSchema = v.object({ "host-name": v.string() });

export const timezoneSchema = v.object({ zone: v.optional(v.string()), offset: v.number() });

export const usersSchema = v.array(
  v.object({ user: v.string(), domain: v.optional(v.string()), "login-time": v.number() }),
);

export const fileSystemsSchema = v.array(
  v.object({
    name: v.string(),
    mountpoint: v.string(),
    type: v.string(),
    "used-bytes": v.optional(v.number()),
    "total-bytes": v.optional(v.number()),
    disk: v.optional(
      v.array(v.object({ serial: v.optional(v.string()), "bus-type": v.optional(v.string()) })),
      [],
    ),
  }),
);

/** Of QEMU 10.0 and later. */
export const loadSchema = v.object({
  load1m: v.number(),
  load5m: v.number(),
  load15m: v.number(),
});

export const freezeStatusSchema = v.picklist(["thawed", "frozen"]);

/** More than any machine has. */
const MAX_PIECES = 65_536;

export const cpusSchema = v.pipe(
  v.array(
    v.object({
      ...{ "logical-id": v.number(), online: v.boolean() },
      "can-offline": v.optional(v.boolean()),
    }),
  ),
  v.maxLength(MAX_PIECES),
);

export const blocksSchema = v.pipe(
  v.array(v.object({ "phys-index": v.number(), online: v.boolean() })),
  v.maxLength(MAX_PIECES),
);

/** Kind `malformed` when the guest answers something of another shape. */
export function parseAnswer<S extends v.GenericSchema>(
  command: string,
  schema: S,
  value: unknown,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const why = v.summarize(result.issues).slice(0, 300);
  throw new TrineError("malformed", `guest agent: answer to ${command} is not as expected: ${why}`);
}
