import type { AnnotationSpec } from "./value-types.ts";

/** How the board behaves. */
export const PLATFORM_ANNOTATIONS = [
  {
    key: "trine.dev/on-reboot",
    setting: "onReboot",
    level: "vm",
    type: "choice",
    choices: ["restart", "end"],
    default: "restart",
    description:
      "What a guest that reboots, or is reset, comes to. restart: it begins anew in its machine. end: its container ends with status 0.",
    reason: "Whoever makes machines may want to make them anew, with what has changed meanwhile.",
    example: "end",
    virtlet: [],
  },
] as const satisfies readonly AnnotationSpec[];
