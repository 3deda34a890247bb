import type { RouteSummary } from "@trine/node-api";
import { expect, test } from "vitest";
import type { PodView } from "../pods/pod-view.ts";
import { placesOf, withNodeApi } from "../testing.ts";
import { explainHidden, hiddenPod, routeOf, routeText, routesOf } from "./pod-route.ts";
import type { Io } from "../io.ts";

function route(name: string, more: Partial<RouteSummary> = {}): RouteSummary {
  const where = { podNamespace: "default", name, uid: `uid-${name}`, sandboxId: `id-${name}` };
  return { ...where, backEnd: "a", handler: "", why: "rule x", from: "made", ...more };
}

const view = (name: string): PodView =>
  ({ name, namespace: "default", sandboxId: `id-${name}` }) as unknown as PodView;

test("a pod's route is that of its sandbox, told with its rule and how that is known", () => {
  const routes = [route("web"), route("vm", { handler: "trine-vm", from: "rules" })];
  const [web, vm] = [routeOf(routes, view("web")), routeOf(routes, view("vm"))];
  expect(web && routeText(web)).toBe("a, its default handler: rule x");
  expect(vm && routeText(vm)).toBe('a, handler "trine-vm": rule x (by the rules as they are now)');
  expect(routeOf(routes, view("other"))).toBeUndefined();
  expect(routeOf(routes, undefined)).toBeUndefined();
});

test("a pod that was refused is explained by the reason, one of another back end by its place", () => {
  const refused = route("bad", {
    ...{ sandboxId: "", backEnd: "", from: "refused", why: "no rule has it" },
    refusedAt: "2026-01-02T03:04:05.000Z",
  });
  const away = route("far", { backEnd: "crio" });
  const routes = [refused, away];
  const found = hiddenPod("default/bad", [], routes);
  expect(found && explainHidden(found, "/c.sock")).toMatchObject({
    object: "pod default/bad",
    cause: "the CRI gateway refused it at 2026-01-02T03:04:05.000Z: no rule has it",
  });
  const other = hiddenPod("far", [], routes);
  expect(other && explainHidden(other, "/c.sock").cause).toMatch(/back end crio .*\/c\.sock/);
  // Made since then.
  expect(hiddenPod("bad", [], [refused, route("bad")])).toMatchObject({ from: "made" });
  expect(hiddenPod("far", [view("far")], routes)).toBeUndefined();
  expect(hiddenPod("none", [], routes)).toBeUndefined();
  const twice = [route("web"), route("web", { podNamespace: "other" })];
  expect(() => hiddenPod("web", [], twice)).toThrow(/default\/web, other\/web/);
});

test("a daemon without a gateway, or none at all, has no routes; one that fails is told", async () => {
  const io = (stateDir: string): Io =>
    ({ ...placesOf(stateDir), signal: AbortSignal.timeout(30_000) }) as unknown as Io;
  const answered = (status: number, body: string): Promise<unknown> =>
    withNodeApi(
      (_, response) => response.writeHead(status).end(body),
      (stateDir) => routesOf(io(stateDir)),
    );
  expect(await routesOf(io("/nowhere"))).toEqual([]);
  expect(await answered(404, "no such path")).toEqual([]);
  expect(await answered(200, JSON.stringify({ items: [route("web")] }))).toMatchObject([
    { name: "web" },
  ]);
  await expect(answered(500, "broken")).rejects.toThrow(/broken/);
});
