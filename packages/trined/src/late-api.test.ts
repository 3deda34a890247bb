import { pollUntil } from "@trine/base";
import { EventRecorder } from "@trine/kube-client";
import type { KubeClient } from "@trine/kube-client";
import { expect, test } from "vitest";
import { LateApi } from "./late-api.ts";

const POD = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "ns", name: "pod", uid: "u", resourceVersion: "" },
};

test("what was recorded before there is a kubeconfig is written when it comes, however late", async () => {
  const [problems, written]: [string[], unknown[]] = [[], []];
  const create = (_resource: unknown, object: unknown): Promise<unknown> => {
    written.push(object);
    return Promise.resolve(object);
  };
  let isClosed = false;
  const client = {
    ...{ create, patch: create },
    close: () => {
      isClosed = true;
    },
  } as unknown as KubeClient;
  let tries = 0;
  const api = new LateApi({
    lookMs: 1,
    onProblem: (why) => problems.push(why),
    // More often than the recorder tries to write an event.
    open: () => {
      tries += 1;
      if (tries <= 20) return Promise.reject(new Error(tries <= 10 ? "no file" : "half a file"));
      return Promise.resolve(client);
    },
  });
  const over = new AbortController();
  const recorder = new EventRecorder(api, {
    ...{ component: "trined", instance: "node-1" },
    onProblem: (cause) => problems.push(String(cause)),
  });
  recorder.record(POD, { type: "Warning", reason: "LxcfsLost", message: "gone" });
  await api.opened(over.signal);
  const running = recorder.run(over.signal);
  await pollUntil("it is written", { ms: 20_000 }, () => written[0]);
  over.abort();
  await running;
  api.close();
  expect(written).toMatchObject([{ reason: "LxcfsLost", count: 1 }]);
  expect(problems).toEqual(["no file", "half a file"]);
  expect(isClosed).toBe(true);
});

test("who waits for it stops when we do", async () => {
  const over = new AbortController();
  const open = (): Promise<never> => Promise.reject(new Error("no file"));
  const api = new LateApi({ open, onProblem: () => undefined });
  const opened = api.opened(over.signal);
  over.abort(new Error("we stop"));
  await expect(opened).rejects.toThrow("we stop");
  api.close();
});
