// What no user may write is refused by the real API server with the webhooks behind it: code, field and reason of each fault.
import { KINDS } from "@trine/kube-types";
import { FAULTY_OBJECTS, type FaultyObject } from "@trine/kube-types/testing";
import { expect, test } from "vitest";
import type { Answer, KubeRest } from "./kube-rest.ts";

const AT_ONCE = 8;

interface Told {
  readonly what: string;
  readonly code: number;
  readonly faults: readonly string[];
}

/** Where the defaults or the API server's own checks come before ours: what is told then. */
const OTHERWISE: Readonly<Record<string, Omit<Told, "what">>> = {
  // Defaults mend it, as KubeVirt's do.
  "VirtualMachineInstance: a watchdog of no kind": { code: 201, faults: [] },
  "VirtualMachineInstance: a probe before its time": { code: 201, faults: [] },
  "VirtualMachineInstance: plugging without memory": { code: 201, faults: [] },
  "VirtualMachineInstance: pinning of no number": { code: 201, faults: [] },
  // Defaults make more of it.
  "VirtualMachineInstance: a memory below nothing": {
    code: 422,
    faults: Array(2).fill("spec.domain.memory.guest FieldValueInvalid") as string[],
  },
  "VirtualMachineInstance: a volume of no name": {
    code: 422,
    faults: [
      "spec.domain.devices.disks[1].name FieldValueRequired",
      "spec.volumes[1].name FieldValueRequired",
    ],
  },
  // The path as the API server has it for what it scales.
  "VirtualMachineInstanceReplicaSet: fewer than none": {
    code: 422,
    faults: [".spec.replicas FieldValueInvalid"],
  },
};

export function faultTests(rest: () => KubeRest): void {
  test("each of hundreds of faulty objects is refused with the field and the reason", async () => {
    const queue = FAULTY_OBJECTS.entries();
    const told: Told[] = [];
    const worker = async (): Promise<void> => {
      for (const [index, faulty] of queue) told[index] = await tellOf(rest(), faulty, index);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    const wanted = FAULTY_OBJECTS.map(({ what, faults }): Told => ({
      what,
      ...(OTHERWISE[what] ?? { code: 422, faults: faults.toSorted() }),
    }));
    expect(told.length).toBe(wanted.length);
    expect(told.filter((each, index) => !isAs(each, wanted[index]))).toEqual([]);
  });
}

/** A field that no schema has is refused before anything is looked at, in a text that names it. */
function isAs(told: Told, wanted: Told | undefined): boolean {
  if (told.code === 400) return told.faults.join() === wanted?.faults.join();
  return JSON.stringify(told) === JSON.stringify(wanted);
}

async function tellOf(
  rest: KubeRest,
  { what, object }: FaultyObject,
  index: number,
): Promise<Told> {
  const { apiVersion, kind } = object;
  const plural = KINDS.find(({ name }) => name === kind)?.plural ?? "";
  const path = `/apis/${apiVersion}/namespaces/default/${plural}?fieldValidation=Strict`;
  const answer = await rest.call("POST", path, {
    ...object,
    metadata: { name: `faulty-${index}` },
  });
  return { what, code: answer.code, faults: faultsOf(answer) };
}

function faultsOf({ code, body }: Answer): readonly string[] {
  if (code === 400) {
    const unknown = [...String(body["message"]).matchAll(/unknown field "([^"]+)"/g)];
    return unknown.map(([, field = ""]) => `${field} FieldValueInvalid`).toSorted();
  }
  const { causes = [] } = (body["details"] ?? {}) as {
    causes?: readonly { field: string; reason: string; message: string }[];
  };
  expect(causes.every(({ message }) => message.length > 0)).toBe(true);
  // The API server's own last word on an object that is broken: it has not looked further.
  const own = causes.filter(({ field }) => field !== "<nil>");
  return own.map(({ field, reason }) => `${field} ${reason}`).toSorted();
}
