import * as v from "valibot";
import { oneOf, path } from "./config-values.ts";

const handlers = v.pipe(v.array(v.pipe(v.string(), v.maxLength(255))), v.maxLength(64));

/** CPUs chosen by limits. */
const CpuSet = v.strictObject({
  handlers: v.optional(
    v.pipe(
      handlers,
      v.title("list of handlers; the empty name is the runtime's default"),
      v.description(
        "RuntimeClass handlers whose containers with a CPU limit are put on as many CPUs as it comes to, so that nproc agrees. Not with kubelet's static CPU manager, whose sets stay. Empty: none.",
      ),
    ),
    [],
  ),
  default: v.optional(
    v.pipe(
      oneOf("on", "off"),
      v.description("For their pods whose annotation trine.dev/cpuset does not say."),
    ),
    "on",
  ),
});

/** Views of containers' own limits (docs/plans/lxcfs.md). */
export const LxcfsSchema = v.strictObject({
  enabled: v.optional(
    v.pipe(
      v.boolean(),
      v.title("true, false"),
      v.description(
        "Containers with a CPU or memory limit see it in /proc and /sys, by lxcfs. It runs as a unit of its own, deploy/systemd/trine-lxcfs.service, and containerd needs NRI.",
      ),
    ),
    false,
  ),
  dir: v.optional(
    v.pipe(path, v.description("Where that lxcfs is mounted.")),
    "/run/trine-lxcfs/fs",
  ),
  pidFile: v.optional(
    v.pipe(path, v.description("What it writes its process id to.")),
    "/run/trine-lxcfs/pid",
  ),
  helper: v.optional(
    v.pipe(path, v.description("Program that puts its files into containers which run already.")),
    "/usr/local/bin/trine-rootfs",
  ),
  nri: v.optional(
    v.pipe(
      v.union([v.literal(""), path], "an absolute path is wanted"),
      v.title("absolute path, or empty"),
      v.description("NRI's socket. Empty: the gateway alone tells of containers."),
    ),
    "/var/run/nri/nri.sock",
  ),
  handlers: v.optional(
    v.pipe(
      handlers,
      v.title("list of handlers; the empty name is the runtime's default"),
      v.description(
        "RuntimeClass handlers whose containers get the views. Never those of machines, whose own kernel is right.",
      ),
    ),
    ["", "runc", "crun"],
  ),
  default: v.optional(
    v.pipe(
      oneOf("on", "off"),
      v.description("For pods whose annotation trine.dev/lxcfs does not say."),
    ),
    "on",
  ),
  cpuset: v.optional(CpuSet, {}),
});
