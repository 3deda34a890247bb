import { randomBytes } from "node:crypto";
import { messageOf } from "@trine/base";
import { createCriClient } from "@trine/containerd-client";
import type { CriClient } from "@trine/containerd-client";
import type { Check, Finding, Place } from "./finding.ts";

type Result = Omit<Finding, "name">;

const HANDLER = "gvisor";
const CALL_MS = 10_000;
/** A sandbox of gVisor's takes a tenth of a second here; its image may have to come first. */
const POD_MS = 60_000;

export const GVISOR_CHECKS: readonly [Check] = [{ name: HANDLER, run: checkGvisor }];

/** Really runs a pod: handler and programs that are there say little. It is removed at once. */
async function checkGvisor(place: Place): Promise<Result> {
  const cri = createCriClient(place.containerd, place.onRequest);
  try {
    const { info } = await cri.runtime.status({ verbose: true }, { timeoutMs: CALL_MS });
    if (!hasHandler(info["config"] ?? "")) {
      return { status: "ok", detail: "not set up (trine install --gvisor)" };
    }
    await runPod(cri);
    return { status: "ok", detail: "a pod runs behind it" };
  } catch (cause) {
    const fix =
      "compare /etc/containerd/runsc.toml and containerd's log; runsc of 2022 starts nothing on newer kernels";
    return { status: "fail", detail: messageOf(cause), fix };
  } finally {
    cri.close();
  }
}

/** `config`: containerd's account of its CRI configuration, JSON; nothing of it where it does not tell. */
function hasHandler(config: string): boolean {
  try {
    const parsed = JSON.parse(config) as { containerd?: { runtimes?: Record<string, unknown> } };
    return parsed.containerd?.runtimes?.[HANDLER] !== undefined;
  } catch {
    return false; // the check of our own handlers has said so
  }
}

async function runPod({ runtime }: CriClient): Promise<void> {
  const uid = randomBytes(8).toString("hex");
  const metadata = { name: "trine-doctor", uid, namespace: "default", attempt: 0 };
  const request = { config: { metadata, linux: {} }, runtimeHandler: HANDLER };
  const { podSandboxId } = await runtime.runPodSandbox(request, { timeoutMs: POD_MS });
  await runtime.stopPodSandbox({ podSandboxId }, { timeoutMs: POD_MS });
  await runtime.removePodSandbox({ podSandboxId }, { timeoutMs: POD_MS });
}
