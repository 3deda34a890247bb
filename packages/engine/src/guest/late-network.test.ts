import { expect, test } from "vitest";
import type { PodContext } from "../pod-context.ts";
import { joinLateNetwork, openLateTap, plannedInterfaces } from "./late-network.ts";
import { NOBODYS_NETWORK } from "./spare-identity.ts";

interface Of {
  readonly namespace: string;
  readonly netns?: string;
  readonly isPodSandbox?: boolean;
}

/** A pod with what is asked of its shim. */
function pod({ namespace, netns = "", isPodSandbox = false }: Of): {
  context: PodContext;
  asked: string[];
} {
  const asked: string[] = [];
  const context = {
    identity: { namespace },
    facts: { netns, taps: [] },
    sandbox: { isPodSandbox },
    document: { version: 1, execs: {} },
    shim: {
      openTap: (name: string, mtu: number) => Promise.resolve(asked.push(`tap ${name} ${mtu}`)),
      run: (argv: readonly string[]) => {
        asked.push(argv.join(" "));
        return Promise.resolve({ exitCode: 0, stdout: "[]\n[]\n", stderr: "" });
      },
    },
    save: () => Promise.resolve(),
  };
  return { context: context as unknown as PodContext, asked };
}

test("dockerd's container has a card and its tap before there is a network", async () => {
  const { context, asked } = pod({ namespace: "moby" });
  expect(plannedInterfaces(context)).toEqual([NOBODYS_NETWORK]);
  await openLateTap(context);
  expect(asked).toEqual(["tap tap0 1500"]);
});

test("with --network none nothing is given to the guest", async () => {
  const { context, asked } = pod({ namespace: "moby" });
  const agent = { setNetwork: () => Promise.reject(new Error("it was asked")) };
  await joinLateNetwork(context, agent);
  expect(asked.some((words) => words.startsWith("ip "))).toBe(true);
});

test.each<[string, Of]>([
  ["a pod of kubelet's", { namespace: "k8s.io", netns: "/run/netns/a", isPodSandbox: true }],
  ["a container of ctr's", { namespace: "default" }],
  ["one of dockerd's in another's network", { namespace: "moby", netns: "/proc/7/ns/net" }],
])("%s has its network when it is made, or never", async (_, of) => {
  const { context, asked } = pod(of);
  expect(plannedInterfaces(context)).toEqual([]);
  await openLateTap(context);
  await joinLateNetwork(context, { setNetwork: () => Promise.reject(new Error("it was asked")) });
  expect(asked).toEqual([]);
});
