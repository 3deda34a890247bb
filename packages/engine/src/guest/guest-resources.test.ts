import { describe, expect, test } from "vitest";
import { requireFits } from "./guest-resources.ts";

const MIB = 1024 * 1024;
const GUEST = { cpus: 2, memoryBytes: 256 * MIB };
const check = (resources: object) => () => {
  requireFits(Buffer.from(JSON.stringify(resources)), GUEST);
};

describe("new limits of a container", () => {
  test.each([
    {},
    { memory: { limit: 256 * MIB } },
    { memory: { limit: -1 }, cpu: { quota: -1, period: 100_000 } },
    { cpu: { quota: 200_000 } },
    { cpu: { shares: 262_144 } },
  ])("within the guest are taken: %j", (resources) => {
    expect(check(resources)).not.toThrow();
  });

  test.each([
    [{ memory: { limit: 257 * MIB } }, "257 MiB is not possible: the pod's guest has 256 MiB"],
    [{ cpu: { quota: 150_000, period: 50_000 } }, "3 CPUs is not possible: the pod's guest has 2"],
  ])("beyond it are refused: %j", (resources, words) => {
    expect(check(resources)).toThrow(words);
  });

  test("that are no JSON are refused", () => {
    expect(() => {
      requireFits(Buffer.from("{"), GUEST);
    }).toThrow("not JSON");
  });
});
