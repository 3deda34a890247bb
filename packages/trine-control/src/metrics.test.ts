import { expect, test } from "vitest";
import { ControlMetrics } from "./metrics.ts";

test("tells how long what was asked of the API took, by verb, resource and answer", async () => {
  const metrics = new ControlMetrics(() => false, "1.2.3");
  const of = { verb: "update", resource: "virtualmachines/start" };
  metrics.answered({ ...of, code: 202, seconds: 0.02 });
  metrics.answered({ ...of, code: 202, seconds: 0.3 });
  metrics.answered({ ...of, code: 409, seconds: 0.01 });
  const text = await metrics.render();
  const at = 'verb="update",resource="virtualmachines/start"';
  expect(text).toContain(`trine_control_api_request_seconds_count{${at},code="202"} 2\n`);
  expect(text).toContain(`trine_control_api_request_seconds_count{${at},code="409"} 1\n`);
  expect(text).toContain(
    `trine_control_api_request_seconds_bucket{le="0.025",${at},code="202"} 1\n`,
  );
});
