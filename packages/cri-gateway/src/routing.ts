import { TrineError, quote } from "@trine/base";
import { mapAt, messageAt, numberAt } from "./wire.ts";

/** One rule of the configuration: what it looks at, and where that leads. */
export interface Rule {
  /** The pod's RuntimeClass handler is this. */
  readonly handler?: string | undefined;
  /** The pod's annotation kubernetes.io/target-runtime is this. */
  readonly targetRuntime?: string | undefined;
  /** The image's name begins with this. */
  readonly imagePrefix?: string | undefined;
  readonly backEnd: string;
  /** Handler the back end is asked for instead of the pod's own. */
  readonly useHandler?: string | undefined;
}

/** Where pods go that their manifest calls untrusted; without a handler these annotations are the back end's. */
export interface Untrusted {
  readonly handler: string;
  /** Empty: the default back end. */
  readonly backEnd: string;
  /** Untrusted and privileged, or with namespaces of the host. */
  readonly hostAccess: "refuse" | "allow";
}

/** A CRI server behind the gateway. */
export interface BackEndAt {
  readonly name: string;
  readonly socket: string;
  /**
   * Who answers at its streaming URLs: kubelet is given them as they are (`direct`), or the gateway's own (`relay`); absent or
   * `auto`: its own where `streamVia` is given or the URL has no host.
   */
  readonly streaming?: "auto" | "direct" | "relay" | undefined;
  /** HOST:PORT or the path of a unix socket that leads to its streaming server, where its URLs do not. */
  readonly streamVia?: string | undefined;
}

export interface RoutingConfig {
  readonly backEnds: readonly BackEndAt[];
  readonly rules: readonly Rule[];
  readonly untrusted: Untrusted;
}

/** Where a pod goes and by what. */
export interface Choice {
  readonly backEnd: string;
  /** The handler to ask for; undefined = as the request says. */
  readonly handler?: string;
  /** Annotations the back end must not act on itself: it would refuse the handler we have chosen. */
  readonly overrides: Readonly<Record<string, string>>;
  /** The rule in words. */
  readonly why: string;
}

const TARGET_RUNTIME = "kubernetes.io/target-runtime";
const TRUSTED = "io.kubernetes.cri-o.TrustedSandbox";
const UNTRUSTED = "io.kubernetes.cri.untrusted-workload";
/** The handler containerd itself takes for the annotation above, and the only one it allows with it. */
const UNTRUSTED_HANDLER = "untrusted";

/** NamespaceMode NODE */
const HOST = 2;

/**
 * The back end of a pod, by the first of: its handler, its target runtime, its trust, the default. `config` is its
 * PodSandboxConfig; `reported` answers the back end that reports a handler in its Status.
 */
export function chooseForPod(
  routing: RoutingConfig,
  pod: { readonly config: Uint8Array; readonly handler: string },
  reported: (handler: string) => string | undefined,
): Choice {
  const annotations = mapAt(pod.config, 7);
  return (
    byHandler(routing, pod.handler, reported) ??
    byTarget(routing, annotations.get(TARGET_RUNTIME)) ??
    byTrust(routing, pod.config, annotations) ?? {
      backEnd: defaultOf(routing),
      overrides: {},
      why: "no rule: the default back end",
    }
  );
}

/** The back end of an image by its name; undefined where no rule names it. */
export function chooseForImage(routing: RoutingConfig, image: string): string | undefined {
  return routing.rules.find(
    ({ imagePrefix }) => imagePrefix !== undefined && image.startsWith(imagePrefix),
  )?.backEnd;
}

export function defaultOf(routing: RoutingConfig): string {
  const [first] = routing.backEnds;
  if (first === undefined) throw new TrineError("invalid", "gateway.backEnds is empty");
  return first.name;
}

function byHandler(
  routing: RoutingConfig,
  handler: string,
  reported: (handler: string) => string | undefined,
): Choice | undefined {
  if (handler === "") return undefined;
  const rule = routing.rules.find((each) => each.handler === handler);
  if (rule !== undefined) return choiceOf(rule, `handler ${quote(handler)}`);
  const backEnd = reported(handler);
  const why = `handler ${quote(handler)}: ${backEnd === undefined ? "no back end reports it, so the default one's answer counts" : "reported by its back end"}`;
  return { backEnd: backEnd ?? defaultOf(routing), overrides: {}, why };
}

function byTarget(routing: RoutingConfig, target: string | undefined): Choice | undefined {
  if (target === undefined || target === "") return undefined;
  const rule = routing.rules.find((each) => each.targetRuntime === target);
  if (rule !== undefined) return choiceOf(rule, `${TARGET_RUNTIME}: ${quote(target)}`);
  throw new TrineError(
    "invalid",
    `annotation ${TARGET_RUNTIME}: no rule of the gateway has targetRuntime ${quote(target)}`,
  );
}

function choiceOf({ backEnd, useHandler }: Rule, why: string): Choice {
  return {
    backEnd,
    overrides: {},
    ...(useHandler === undefined ? {} : { handler: useHandler }),
    why: `rule ${why}`,
  };
}

function byTrust(
  routing: RoutingConfig,
  config: Uint8Array,
  annotations: ReadonlyMap<string, string>,
): Choice | undefined {
  const { untrusted } = routing;
  if (untrusted.handler === "") return undefined;
  const [trusted, other] = [truthOf(annotations, TRUSTED), truthOf(annotations, UNTRUSTED)];
  if (trusted === undefined && other === undefined) return undefined;
  if (trusted !== false && other !== true) {
    return {
      backEnd: defaultOf(routing),
      overrides: {},
      why: "rule trusted: the default back end",
    };
  }
  const access = hostAccessOf(config);
  if (access !== undefined && untrusted.hostAccess === "refuse") {
    throw new TrineError(
      "forbidden",
      `an untrusted pod (${trusted === false ? TRUSTED : UNTRUSTED}) may not be ${access}: gateway.untrusted.hostAccess is refuse`,
    );
  }
  const overrides: Record<string, string> =
    other === true && untrusted.handler !== UNTRUSTED_HANDLER ? { [UNTRUSTED]: "false" } : {};
  return {
    backEnd: untrusted.backEnd === "" ? defaultOf(routing) : untrusted.backEnd,
    handler: untrusted.handler,
    overrides,
    why: `rule untrusted: handler ${quote(untrusted.handler)}`,
  };
}

/** Nobody guesses what an annotation means that decides of isolation. */
function truthOf(annotations: ReadonlyMap<string, string>, name: string): boolean | undefined {
  const value = annotations.get(name);
  if (value === undefined || value === "true" || value === "false") {
    return value === undefined ? undefined : value === "true";
  }
  throw new TrineError("invalid", `annotation ${name}: ${quote(value)} is neither true nor false`);
}

/** What a pod wants of the host, in words. */
function hostAccessOf(config: Uint8Array): string | undefined {
  const security = messageAt(config, 8, 2);
  if (numberAt(security, 6) !== 0) return "privileged";
  const namespaces = { network: 1, process: 2, IPC: 3 };
  const hosts = Object.entries(namespaces).filter(([, n]) => numberAt(security, 1, n) === HOST);
  return hosts.length === 0
    ? undefined
    : `in the host's ${hosts.map(([n]) => n).join(" and ")} namespace`;
}
