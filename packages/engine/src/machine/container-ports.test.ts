import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createOverlay } from "@trine/disk-images";
import { afterEach, expect, test } from "vitest";
import type { PodDocument } from "../pod-document.ts";
import { OnePod } from "../testing/test-engine.ts";

const PORTS = {
  "trine.dev/machine": "main",
  "trine.dev/ports": "web=443,main=22,log=514/udp,db=5432",
};
let one: OnePod | undefined;

afterEach(() => one?.[Symbol.asyncDispose]());

interface Told {
  readonly shim: readonly number[];
  readonly agent: readonly string[];
}

/** What the guest of such a machine may reach, as its shim and as its agent are told. */
async function toldOf(
  more: Record<string, string>,
  { isOlder = false }: { isOlder?: boolean } = {},
): Promise<Told> {
  const annotations = { "io.kubernetes.cri.container-name": "main", ...more };
  one = await OnePod.make({ annotations: { "io.kubernetes.cri.container-type": "sandbox" } });
  if (isOlder) one.shim.features = ["read-only-below"];
  const pod = await one.engine().pod(one.ref);
  const bundle = await one.bundle("c1", { hostname: "pod1", annotations, linux: {}, mounts: [] });
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * 1024 ** 2 });
  await pod.create({ id: "c1", bundle, rootfs: [], terminal: false, stdin: false });
  await pod.start({ id: "c1", execId: "" }, AbortSignal.timeout(60_000));
  const { machine } = JSON.parse(Buffer.from(one.shim.state).toString()) as PodDocument;
  const shim = machine?.spec.guestPorts ?? [];
  const seed = await readFile(join(one.podDir, "seed.iso"), "latin1");
  return { shim, agent: [...seed.matchAll(/ --ports (\S+)/g)].map(([, ports = ""]) => ports) };
}

test("of the pod's TCP ports the containers' are the guest's to reach, where it has the agent", async () => {
  const told = await toldOf({ ...PORTS, "trine.dev/agent": "on" });
  expect(told.shim).toEqual([443, 5432]);
  expect(new Set(told.agent)).toEqual(new Set(["443,5432"]));
});

test("none where the pod's shim is older and would pass over them", async () => {
  const told = await toldOf({ ...PORTS, "trine.dev/agent": "on" }, { isOlder: true });
  expect(told).toEqual({ shim: [], agent: [] });
});

test.each([
  [{ ...PORTS }],
  [{ "trine.dev/agent": "on" }],
  [{ "trine.dev/agent": "on", "trine.dev/machine": "main", "trine.dev/ports": "main=22" }],
])("none where there is no agent or no such port (%j)", async (annotations) => {
  expect(await toldOf(annotations)).toEqual({ shim: [], agent: [] });
});
