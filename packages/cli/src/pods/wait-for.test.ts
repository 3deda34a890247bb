import { PassThrough } from "node:stream";
import type { CriClient } from "@trine/containerd-client";
import { ContainerState, PodSandboxState } from "@trine/proto/cri/api";
import { expect, test } from "vitest";
import { Progress } from "../output/progress.ts";
import { placesOf } from "../testing.ts";
import { listPodViews } from "./pod-view.ts";
import { waitFor } from "./wait-for.ts";

const METADATA = { namespace: "default", name: "job", uid: "u1", attempt: 0 };

/** One pod, which at each look is as the next of these: whether its sandbox is ready, and its containers, which have ended. */
function criThat(looks: readonly (readonly [ready: boolean, ...ended: string[]])[]): CriClient {
  let at = -1;
  const ready = (): boolean => looks[at]?.[0] ?? false;
  const runtime = {
    listPodSandbox() {
      at += 1;
      const state = ready() ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;
      const sandbox = { id: "s1", metadata: METADATA, state, labels: {}, createdAt: 0n };
      return Promise.resolve({ items: [sandbox] });
    },
    podSandboxStatus: () => Promise.resolve({}),
    listContainers() {
      const [, ...ended] = looks[at] ?? [];
      return Promise.resolve({ containers: ended.map((id) => ({ id, podSandboxId: "s1" })) });
    },
    containerStatus: ({ containerId: id }: { containerId: string }) =>
      Promise.resolve({
        status: {
          ...{ id, metadata: { name: id, attempt: 0 }, state: ContainerState.CONTAINER_EXITED },
          ...{ startedAt: 0n, finishedAt: 0n, exitCode: 0 },
        },
      }),
  };
  return { runtime } as unknown as CriClient;
}

test("a pod of others is over when its sandbox is, not after the first of its containers", async () => {
  const cri = criThat([
    [true],
    [true, "init"],
    [true, "init", "main"],
    [false, "init", "main", "late"],
  ]);
  const { signal } = new AbortController();
  const io = { ...placesOf("/nowhere"), signal };
  const [view] = await listPodViews(cri, signal);
  if (view === undefined) throw new Error("no pod");
  const progress = new Progress({ stderr: new PassThrough() }, "none");
  const pod = { view, name: "default/job" };
  const over = await waitFor(io, cri, pod, { for: "exited", progress });
  expect(over).toBe("exited (init 0, late 0, main 0)");
});
