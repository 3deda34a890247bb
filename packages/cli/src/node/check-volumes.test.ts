import { expect, test } from "vitest";
import { checkVolumes } from "./check-volumes.ts";

const [THERE, NONE] = [process.execPath, "/nonexistent/virtiofsd"];

test.each([
  [THERE, NONE, "warn", /untested on this kind of host/],
  [NONE, THERE, "ok", /^\//],
  [NONE, NONE, "warn", /directories are refused: no \/nonexistent/],
] as const)("virtiofsd at %s or %s is %s", async (own, qemus, status, detail) => {
  const found = await checkVolumes([own, qemus]);
  expect(found).toMatchObject({ status, detail: expect.stringMatching(detail) as string });
  expect(found.fix === undefined).toBe(own === THERE || qemus === THERE);
});
