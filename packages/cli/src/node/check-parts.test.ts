import { expect, test } from "vitest";
import { withNodeApi } from "../testing.ts";
import { PART_CHECKS } from "./check-parts.ts";
import type { Finding } from "./finding.ts";

const signal = AbortSignal.timeout(30_000);

/** What a check finds where the daemon answers `items`; undefined: it knows no such path. */
function found(name: string, items: readonly object[] | undefined): Promise<Omit<Finding, "name">> {
  const check = PART_CHECKS.find((each) => each.name === name);
  if (check === undefined) throw new Error(`no check ${name}`);
  return withNodeApi(
    (request, response) => {
      const knows = items !== undefined && request.url === `/v1/${name}`;
      response.writeHead(knows ? 200 : 404).end(knows ? JSON.stringify({ items }) : "no such\n");
    },
    (stateDir) => check.run({ stateDir, containerd: "/c", qemu: "/q" }, signal),
  );
}

const a = { name: "a", socket: "/run/a.sock" };
const b = { name: "b", socket: "/run/b.sock" };
const gateway = { socket: "/run/trine-cri.sock", backEnds: [a, b] };

test.each<[string, readonly object[] | undefined, string, RegExp]>([
  ["none of an older daemon", undefined, "ok", /this trined has none/],
  ["none", [], "ok", /backEnds is empty/],
  ["all up", [gateway], "ok", /serves CRI at \/run\/trine-cri\.sock; back ends: a up, b up/],
  ["another away", [{ ...gateway, backEnds: [a, { ...b, down: "ECONN" }] }], "warn", /b away \(EC/],
  [
    "the default away",
    [{ ...gateway, backEnds: [{ ...a, down: "E" }, b] }],
    "fail",
    /a away \(E\)/,
  ],
  ["not serving", [{ ...gateway, failure: "no group x" }], "fail", /no group x/],
])("gateway: %s", async (_, items, status, detail) => {
  const finding = await found("gateway", items);
  expect(finding).toMatchObject({ status });
  expect(finding.detail).toMatch(detail);
  expect(finding.fix === undefined).toBe(status === "ok");
});

const views = {
  up: true,
  nri: true,
  containers: 3,
  stale: 0,
  starts: 1,
  healed: 0,
  failed: 0,
  missed: 0,
};

test.each<[string, readonly object[] | undefined, string, RegExp]>([
  ["none of an older daemon", undefined, "ok", /this trined has none/],
  ["not wanted", [], "ok", /lxcfs\.enabled is false/],
  ["serves", [views], "ok", /3 containers see their own limits/],
  ["stale", [{ ...views, stale: 2 }], "warn", /2 of them stale/],
  ["gone", [{ ...views, up: false }], "fail", /does not serve/],
  ["without NRI", [{ ...views, nri: false }], "fail", /NRI is not connected/],
])("lxcfs: %s", async (_, items, status, detail) => {
  const finding = await found("lxcfs", items);
  expect(finding).toMatchObject({ status });
  expect(finding.detail).toMatch(detail);
  expect(finding.fix === undefined).toBe(status === "ok");
});

test.each(PART_CHECKS)("$name: without a daemon nothing is known", async ({ run }) => {
  const place = { stateDir: "/nowhere", containerd: "/c", qemu: "/q" };
  expect(await run(place, signal)).toMatchObject({ status: "warn" });
});
