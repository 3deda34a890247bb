import { HANDLERS, POD_ANNOTATION_PATTERNS, RUNTIME_MICROVM, RUNTIME_VM } from "@trine/annotations";
import { messageOf } from "@trine/base";
import type { Finding } from "./finding.ts";

/** A handler as both containerd 1.x and 2.x print it in the verbose status (`config`, a JSON text). */
interface Runtime {
  readonly runtimeType?: string;
  readonly PodAnnotations?: readonly string[] | null;
  readonly options?: { readonly ConfigPath?: string } | null;
}

const TYPES: Record<(typeof HANDLERS)[number], string> = {
  "trine-vm": RUNTIME_VM,
  "trine-microvm": RUNTIME_MICROVM,
};
const DEFAULT_STATE_DIR = "/run/trine";
const [OURS, ...OTHERS] = POD_ANNOTATION_PATTERNS;
const FIX =
  "install the drop-in of deploy/containerd (make install puts it into PREFIX/share/trine) and restart containerd";

/** What containerd's own account of its CRI configuration says of Trine's handlers. */
export function judgeHandlers(config: string, stateDir: string): Omit<Finding, "name"> {
  let runtimes: Readonly<Record<string, Runtime>>;
  try {
    const parsed = JSON.parse(config) as { containerd?: { runtimes?: Record<string, Runtime> } };
    runtimes = parsed.containerd?.runtimes ?? {};
  } catch (cause) {
    const detail = `the CRI server does not tell its configuration: ${messageOf(cause)}`;
    return { status: "warn", detail, fix: "compare it with deploy/containerd by hand" };
  }
  const wrong = HANDLERS.flatMap((name) => faults(name, runtimes[name], stateDir));
  if (wrong.length > 0) return { status: "fail", detail: wrong.join("; "), fix: FIX };
  const hidden = OTHERS.filter((pattern) =>
    HANDLERS.some((name) => runtimes[name]?.PodAnnotations?.includes(pattern) !== true),
  );
  return hidden.length === 0
    ? { status: "ok", detail: `${HANDLERS.join(", ")} are configured` }
    : {
        status: "warn",
        detail: `${HANDLERS.join(", ")} are configured, but pod_annotations lacks ${hidden.join(", ")}: those annotations have no effect`,
        fix: FIX,
      };
}

function faults(
  name: (typeof HANDLERS)[number],
  runtime: Runtime | undefined,
  stateDir: string,
): string[] {
  if (runtime === undefined) return [`no handler ${name}`];
  const found: string[] = [];
  if (runtime.runtimeType !== TYPES[name]) {
    found.push(`${name}: runtime_type is ${runtime.runtimeType ?? "unset"}, not ${TYPES[name]}`);
  }
  if (runtime.PodAnnotations?.includes(OURS) !== true) {
    found.push(`${name}: pod_annotations lacks ${OURS}`);
  }
  const told = runtime.options?.ConfigPath ?? DEFAULT_STATE_DIR;
  if (told !== stateDir) {
    found.push(`${name}: ConfigPath is ${told}, but trined's state directory is ${stateDir}`);
  }
  return found;
}
