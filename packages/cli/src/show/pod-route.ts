import { TrineError, kindOf, quote } from "@trine/base";
import type { RouteSummary } from "@trine/node-api";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import type { PodView } from "../pods/pod-view.ts";

/** Where the CRI gateway has put a pod. */
export interface ShownRoute {
  readonly backEnd: string;
  /** The handler its back end was asked for; empty: that back end's default. */
  readonly handler: string;
  /** The rule, in words. */
  readonly rule: string;
  /** `made`: noted when the pod was made; `rules`: by the rules as they are now. */
  readonly from: "made" | "rules";
}

/** Of nodes whose daemon does not answer nothing is said here: pods that are containers need none. */
export async function routesOf(io: Io): Promise<readonly RouteSummary[]> {
  try {
    return await new NodeClient(io).routes();
  } catch (cause) {
    if (["unavailable", "forbidden", "timeout"].includes(kindOf(cause))) return [];
    throw cause;
  }
}

/** Undefined where there is no gateway, or it does not know the pod. */
export function routeOf(
  routes: readonly RouteSummary[],
  view: PodView | undefined,
): ShownRoute | undefined {
  const route = routes.find(({ sandboxId }) => view !== undefined && sandboxId === view.sandboxId);
  if (route === undefined || route.from === "refused") return undefined;
  const { backEnd, handler, why: rule, from } = route;
  return { backEnd, handler, rule, from };
}

export function routeText({ backEnd, handler, rule, from }: ShownRoute): string {
  const as = handler === "" ? "its default handler" : `handler ${quote(handler)}`;
  return `${backEnd}, ${as}: ${rule}${from === "rules" ? " (by the rules as they are now)" : ""}`;
}

/**
 * The pod of that name that only the gateway knows: one it refused, or one of a back end that containerd's socket does not show.
 * Kind `conflict` when they are several.
 */
export function hiddenPod(
  name: string,
  views: readonly PodView[],
  routes: readonly RouteSummary[],
): RouteSummary | undefined {
  if (views.some((view) => view.name === name || `${view.namespace}/${view.name}` === name)) {
    return undefined;
  }
  const found = routes.filter((route) => route.name === name || podOf(route) === name);
  const names = [...new Set(found.map(podOf))];
  if (names.length > 1) {
    throw new TrineError("conflict", `${name} is not one pod but ${names.join(", ")}`);
  }
  // One that was refused first may have been made since.
  return found.find(({ from }) => from !== "refused") ?? found.at(-1);
}

/** What to say of it. */
export function explainHidden(
  route: RouteSummary,
  socket: string,
): { readonly object: string; readonly cause: string; readonly next: string } {
  const object = `pod ${podOf(route)}`;
  if (route.from === "refused") {
    const cause = `the CRI gateway refused it at ${route.refusedAt ?? "?"}: ${route.why}`;
    return { object, cause, next: "change its manifest, or the rules: trined config check" };
  }
  const cause = `is in back end ${route.backEnd} of the CRI gateway, which ${socket} does not show`;
  const next = `trine why ${podOf(route)}, with TRINE_CONTAINERD=SOCKET of the gateway`;
  return { object, cause, next };
}

export function podOf({ podNamespace, name }: RouteSummary): string {
  return `${podNamespace}/${name}`;
}
