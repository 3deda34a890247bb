import type { AnnotationSpec, SettingsOf } from "./value-types.ts";

const MI = 1024n ** 2n;
const TI = 1024n ** 4n;

/** Every pod annotation of the microvm level. The pod itself says nearly all there is to say. */
export const MICROVM_ANNOTATIONS = [
  {
    key: "trine.dev/cpus",
    setting: "cpus",
    level: "microvm",
    type: "integer",
    min: 1,
    max: 255,
    description:
      "Virtual CPUs of the pod's guest. Unset: whole CPUs that hold the pod's limit, else its request, else the node's default.",
    reason: "A container without a limit may want more than one.",
    example: "2",
    virtlet: [],
  },
  {
    key: "trine.dev/memory",
    setting: "memoryBytes",
    level: "microvm",
    type: "quantity",
    min: 96n * MI,
    max: 16n * TI,
    description:
      "Memory of the pod's guest, its kernel included. Unset: the pod's memory limit, below 256Mi with room for the kernel besides, else the node's default.",
    reason: "A guest cannot take more of the node later, as a process without a limit does.",
    example: "1Gi",
    virtlet: [],
  },
] as const satisfies readonly AnnotationSpec[];

/** The parsed annotations; undefined where one is unset. */
export type MicrovmSettings = SettingsOf<(typeof MICROVM_ANNOTATIONS)[number]>;
