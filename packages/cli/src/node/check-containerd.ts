import { messageOf } from "@trine/base";
import { createCriClient } from "@trine/containerd-client";
import type { CriClient } from "@trine/containerd-client";
import { EMPTY_IMAGE } from "@trine/image-import";
import { findProgram, programDirs } from "./find-program.ts";
import { UNTESTED } from "./finding.ts";
import type { Check, Finding, Place } from "./finding.ts";
import { judgeHandlers } from "./judge-handlers.ts";

type Result = Omit<Finding, "name">;

const CALL_MS = 10_000;
const SHIMS = ["containerd-shim-trine-vm-v2", "containerd-shim-trine-microvm-v2"];
/** Those the tests run on (docs/compatibility.md). */
const TESTED = [/^1\.6\./, /^2\.4\./];

export const CONTAINERD_CHECKS: readonly Check[] = [
  { name: "containerd", run: checkVersion },
  { name: "cri", run: checkConditions },
  { name: "handlers", run: checkHandlers },
  { name: "empty image", run: checkEmptyImage },
  { name: "shim", run: () => checkShim(process.env["PATH"] ?? "") },
];

function checkVersion(place: Place): Promise<Result> {
  return asked(place, async ({ runtime }) => {
    const { runtimeName, runtimeVersion } = await runtime.version({}, { timeoutMs: CALL_MS });
    return judgeVersion(runtimeName, runtimeVersion);
  });
}

export function judgeVersion(name: string, version: string): Result {
  const plain = version.replace(/^v/, "");
  const detail = `${name} ${plain}`;
  if (name !== "containerd") return { status: "warn", detail: `${detail}; ${UNTESTED}` };
  const [major = 0, minor = 0] = plain.split(".").map(Number);
  if (major < 1 || (major === 1 && minor < 6)) {
    const fix = "install containerd 1.6 or later";
    return { status: "fail", detail: `${detail}: 1.6 is the oldest that works`, fix };
  }
  return TESTED.some((known) => known.test(plain))
    ? { status: "ok", detail }
    : { status: "warn", detail: `${detail}; ${UNTESTED}` };
}

function checkConditions(place: Place): Promise<Result> {
  return asked(place, async ({ runtime }) => {
    const { status } = await runtime.status({}, { timeoutMs: CALL_MS });
    const bad = (status?.conditions ?? []).filter(
      ({ type, status: holds }) => !holds && ["RuntimeReady", "NetworkReady"].includes(type),
    );
    if (bad.length === 0) return { status: "ok", detail: "runtime and network are ready" };
    const detail = bad.map(({ type, message }) => `not ${type}: ${message}`).join("; ");
    return { status: "fail", detail, fix: "install a CNI plugin and its file in /etc/cni/net.d" };
  });
}

function checkHandlers(place: Place): Promise<Result> {
  return asked(place, async ({ runtime }) => {
    const { info } = await runtime.status({ verbose: true }, { timeoutMs: CALL_MS });
    return judgeHandlers(info["config"] ?? "", place.stateDir);
  });
}

function checkEmptyImage(place: Place): Promise<Result> {
  return asked(place, async ({ images }) => {
    const image = { image: EMPTY_IMAGE };
    const { image: found } = await images.imageStatus({ image }, { timeoutMs: CALL_MS });
    if (found !== undefined) return { status: "ok", detail: EMPTY_IMAGE };
    const detail = `${EMPTY_IMAGE} is not there: machines whose root is a volume do not start`;
    return { status: "warn", detail, fix: "run trine install on this node" };
  });
}

async function asked(
  { containerd: socket, onRequest }: Place,
  ask: (client: CriClient) => Promise<Result>,
): Promise<Result> {
  const client = createCriClient(socket, onRequest);
  try {
    return await ask(client);
  } catch (cause) {
    const detail = `${socket}: ${messageOf(cause)}`;
    const fix = "start containerd with its CRI plugin on, or name its socket by --containerd";
    return { status: "fail", detail, fix };
  } finally {
    client.close();
  }
}

/** containerd finds a shim by its PATH, which for a service is the usual one. */
export async function checkShim(path: string): Promise<Result> {
  const dir = await findProgram(path, SHIMS);
  if (dir !== undefined) return { status: "ok", detail: `${SHIMS.join(", ")} in ${dir}` };
  return {
    status: "warn",
    detail: `no ${SHIMS.join(" and ")} in ${programDirs(path).join(":")}`,
    fix: "make install, or put the directory of the shims into containerd's PATH",
  };
}
