import { join } from "node:path";
import { expect, test } from "vitest";
import type { Io } from "../io.ts";
import { untilKnown } from "./import.ts";

function waiting(signal: AbortSignal): Promise<void> {
  const containerd = join(import.meta.dirname, "nobody.sock");
  return untilKnown({ signal } as Io, { containerd, namespace: "k8s.io" }, "localhost/a:1");
}

test("an image that is there is no failure when ^C ends the waiting for CRI", async () => {
  await waiting(AbortSignal.abort());
  await expect(waiting(new AbortController().signal)).rejects.toMatchObject({
    kind: "unavailable",
  });
});
