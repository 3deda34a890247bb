import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withTempDir } from "@trine/testkit";
import { expect, test } from "vitest";
import { parseLimits, processLimits } from "./process-limits.ts";

const TABLE = `Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            1024                 524288               files     
Max nice priority         0                    0                    
Max something new         1                    2                    bytes
`;

test("the kernel's table becomes OCI rlimits, unlimited a number of 64 bits", () => {
  expect(JSON.parse(JSON.stringify(parseLimits(TABLE)))).toMatchObject([
    { type: "RLIMIT_CPU" },
    { type: "RLIMIT_NOFILE", soft: 1024, hard: 524288 },
    { type: "RLIMIT_NICE", soft: 0, hard: 0 },
  ]);
  expect(JSON.stringify(parseLimits(TABLE)[0])).toBe(
    '{"type":"RLIMIT_CPU","hard":18446744073709551615,"soft":18446744073709551615}',
  );
});

test("the noted limits are a container's; those of a shim that noted none are its own sixteen", () =>
  withTempDir(async (dir) => {
    const noted = join(dir, "limits");
    expect(await processLimits(noted, process.pid)).toHaveLength(16);
    await writeFile(noted, TABLE);
    expect(await processLimits(noted, process.pid)).toHaveLength(3);
  }));
