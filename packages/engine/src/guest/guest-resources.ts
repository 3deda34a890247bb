import { TrineError } from "@trine/base";
import { record } from "../json-shape.ts";

const MIB = 1024 * 1024;

/**
 * Refuses (kind `exhausted`) limits beyond what the pod's guest has: they would be set and mean nothing. Below,
 * the container's control group in the guest follows them. `resources`: OCI linux.resources as JSON.
 */
export function requireFits(
  resources: Uint8Array,
  guest: { readonly cpus: number; readonly memoryBytes: number },
): void {
  const { memory, cpu } = parse(resources);
  const limit = record(memory)["limit"];
  if (typeof limit === "number" && limit > guest.memoryBytes) {
    const [asked, has] = [limit, guest.memoryBytes].map((bytes) => Math.floor(bytes / MIB));
    throw tooMuch(`a memory limit of ${asked} MiB`, `the pod's guest has ${has} MiB`);
  }
  const { quota, period } = record(cpu);
  const cpus = typeof quota === "number" ? quota / (typeof period === "number" ? period : 1e5) : 0;
  if (Number.isFinite(cpus) && cpus > guest.cpus) {
    throw tooMuch(`a limit of ${cpus} CPUs`, `the pod's guest has ${guest.cpus}`);
  }
}

function parse(resources: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return record(JSON.parse(new TextDecoder().decode(resources)));
  } catch (cause) {
    throw new TrineError("malformed", "the resources are not JSON", { cause });
  }
}

function tooMuch(asked: string, has: string): TrineError {
  return new TrineError("exhausted", `${asked} is not possible: ${has}; make the pod anew`);
}
