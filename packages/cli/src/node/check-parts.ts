import { messageOf } from "@trine/base";
import type { Check, Finding, Place } from "./finding.ts";
import { NodeClient } from "./node-client.ts";

type Result = Omit<Finding, "name">;

/** Parts of trined that a node may do without. */
export const PART_CHECKS: readonly Check[] = [
  { name: "gateway", run: checkGateway },
  { name: "lxcfs", run: checkViews },
];

async function checkGateway(place: Place, signal: AbortSignal): Promise<Result> {
  const found = await asked(new NodeClient({ ...place, signal }).gateway());
  if ("detail" in found) return found;
  const [gateway] = found.items;
  if (gateway === undefined)
    return { status: "ok", detail: "none here (gateway.backEnds is empty)" };
  const { socket, failure, backEnds } = gateway;
  if (failure !== undefined) {
    const fix = "mend that: it is tried again every 5 s";
    return { status: "fail", detail: failure, fix };
  }
  const states = backEnds.map(
    ({ name, down }) => `${name} ${down === undefined ? "up" : `away (${down})`}`,
  );
  const detail = `serves CRI at ${socket}; back ends: ${states.join(", ")}`;
  const [first, ...others] = backEnds;
  if (first?.down !== undefined) {
    const fix = `start ${first.name}, whose socket is ${first.socket}: the node is not ready without it`;
    return { status: "fail", detail, fix };
  }
  return others.every(({ down }) => down === undefined)
    ? { status: "ok", detail }
    : { status: "warn", detail, fix: "start those that are away: their pods cannot be changed" };
}

async function checkViews(place: Place, signal: AbortSignal): Promise<Result> {
  const found = await asked(new NodeClient({ ...place, signal }).views());
  if ("detail" in found) return found;
  const [views] = found.items;
  if (views === undefined)
    return { status: "ok", detail: "not wanted here (lxcfs.enabled is false)" };
  const { up, nri, containers, stale, missed } = views;
  const detail = `${containers} containers see their own limits, ${stale} of them stale; ${missed} started without`;
  if (!up) {
    const fix = "systemctl start trine-lxcfs; running containers get its files then by themselves";
    return { status: "fail", detail: `lxcfs does not serve; ${detail}`, fix };
  }
  if (nri === false) {
    const fix = "turn NRI on in containerd, whose socket lxcfs.nri names";
    return {
      status: "fail",
      detail: `NRI is not connected, so nothing is told of new containers; ${detail}`,
      fix,
    };
  }
  if (stale === 0) return { status: "ok", detail: `lxcfs serves; ${detail}` };
  return {
    status: "warn",
    detail: `lxcfs serves; ${detail}`,
    fix: "trined gives them its files; its log says what is in the way",
  };
}

/** What the daemon tells; where it does not, the finding that says so: another check says what to do about it. */
async function asked<T>(
  question: Promise<readonly T[] | undefined>,
): Promise<{ readonly items: readonly T[] } | Result> {
  try {
    const items = await question;
    return items === undefined ? { status: "ok", detail: "this trined has none" } : { items };
  } catch (cause) {
    return { status: "warn", detail: `not known: ${messageOf(cause)}` };
  }
}
