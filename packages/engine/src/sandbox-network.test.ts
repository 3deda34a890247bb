import { create } from "@bufbuild/protobuf";
import { DescribeResponseSchema } from "@trine/proto/shim";
import { expect, test } from "vitest";
import type { PodContext } from "./pod-context.ts";
import type { PodDocument } from "./pod-document.ts";
import { prepareNetwork } from "./sandbox-network.ts";

const network = { name: "eth0", mac: "02:00:00:00:00:01", mtu: 1500, addresses: [], routes: [] };

/** Opens the taps of a pod whose network is noted; answers those that were asked for. */
async function opened(asks: Partial<PodDocument>, features: string[]): Promise<string[]> {
  const asked: string[] = [];
  const pod = {
    facts: create(DescribeResponseSchema, { version: "1", netns: "/run/netns/a", features }),
    document: { version: 1, execs: {}, network, ...asks },
    shim: {
      run: () => Promise.resolve({ exitCode: 0, stdout: "[]", stderr: "" }),
      openTap: (name: string) => Promise.resolve(asked.push(name)),
    },
  };
  await prepareNetwork(pod as unknown as PodContext);
  return asked;
}

test.each<[string, Partial<PodDocument>, string]>([
  ["tap-queues", { queues: 2 }, "tap0"],
  ["macvtap", { bindings: { eth0: "macvtap" } }, "mvt0"],
])("a shim without %s, which would pass over it, is told of none", async (feature, asks, tap) => {
  expect(await opened(asks, [feature])).toEqual([tap]);
  await expect(opened(asks, ["read-only-below"])).rejects.toMatchObject({
    kind: "wrongState",
    message: expect.stringMatching(`shim \\(1\\) has no ${feature} yet`) as string,
  });
  expect(await opened({}, [])).toEqual(["tap0"]);
});
