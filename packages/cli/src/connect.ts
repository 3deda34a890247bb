import { createCriClient } from "@trine/containerd-client";
import type { CriClient } from "@trine/containerd-client";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { Io } from "./io.ts";

/** Runs `work` with a client of the node's containerd; says which socket when nobody is there. */
export async function withCri<T>(
  io: Pick<Io, "containerd" | "signal" | "onRequest">,
  work: (cri: CriClient) => Promise<T>,
): Promise<T> {
  const cri = createCriClient(io.containerd, io.onRequest);
  try {
    return await work(cri);
  } catch (cause) {
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
    if (kindOf(cause) !== "unavailable") throw cause;
    const advice = "is containerd running? `trine doctor` tells more";
    const what = `containerd does not answer at ${io.containerd} (${messageOf(cause)}): ${advice}`;
    throw new TrineError("unavailable", what, { cause });
  } finally {
    cri.close();
  }
}
