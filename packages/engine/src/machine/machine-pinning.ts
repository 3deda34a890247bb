import type { MachineSettings } from "@trine/annotations";
import { TrineError, parseCpuList } from "@trine/base";
import type { PinningSpec } from "@trine/vmm";
import type { Bundle } from "../bundle.ts";
import { record, text } from "../json-shape.ts";
import { cpusOf } from "./hardware.ts";

const ADVICE =
  "kubelet's static CPU policy gives them to a container of a Guaranteed pod whose CPUs are whole";

/** Which CPU of the host each virtual one runs on, of those that are the container's alone. Kind `invalid`. */
export function pinningOf(settings: MachineSettings, { spec }: Bundle): PinningSpec | undefined {
  const { cpuPinning } = settings;
  if (cpuPinning === "off") return undefined;
  const resources = record(record(spec["linux"])["resources"]);
  const given = parseCpuList(text(record(resources["cpu"])["cpus"]));
  const count = cpusOf(settings);
  const wanted = cpuPinning === "isolated" ? count + 1 : count;
  if (given.length < wanted) {
    const has = `${wanted} CPUs are needed, and the container has ${given.length || "none"} of its own`;
    throw new TrineError("invalid", `trine.dev/cpu-pinning: ${cpuPinning}: ${has}: ${ADVICE}`);
  }
  const cpus = given.slice(0, count);
  return { cpus, others: cpuPinning === "isolated" ? given.slice(count) : given };
}
