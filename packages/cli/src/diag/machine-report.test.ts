import type { RequestListener } from "node:http";
import { expect, test } from "vitest";
import { NodeClient } from "../node/node-client.ts";
import { withNodeApi } from "../testing.ts";
import { addMachine } from "./diag.ts";

const POD = { namespace: "default", name: "web", sandboxId: "abc" };

async function added(listener: RequestListener, timeoutMs?: number): Promise<Map<string, unknown>> {
  const files = new Map<string, unknown>();
  await withNodeApi(listener, async (stateDir) => {
    const daemon = new NodeClient({ stateDir, signal: new AbortController().signal }, timeoutMs);
    await addMachine((path, value) => files.set(path, value), daemon, POD);
  });
  return files;
}

test("the VMM's answers are a file of the pod", async () => {
  const report = { answers: { "query-status": { status: "running" } }, failures: {} };
  const asked: unknown[] = [];
  const files = await added(({ url }, response) => {
    asked.push(url);
    response.end(JSON.stringify(report));
  });
  expect(asked).toEqual(["/v1/machine-report?sandbox=abc"]);
  expect([...files]).toEqual([["pods/default_web/machine-report.json", report]]);
});

test.each<[string, RequestListener, RegExp]>([
  ["is off", (_, answer) => answer.writeHead(409).end("machine m is off\n"), /machine m is off\n$/],
  ["does not answer", (_, answer) => answer.writeHead(504).end("no answer\n"), /: no answer\n$/],
  ["has a daemon that hangs", () => undefined, /does not answer at .* \(200 ms\)/],
  ["has a daemon that lies", (_, answer) => answer.end("<html>"), /no JSON/],
])("a machine that %s has a note instead", async (_, listener, says) => {
  const [[path, text] = [], ...more] = [...(await added(listener, 200))];
  expect(path).toBe("pods/default_web/machine-report.error");
  expect(text).toMatch(/^the machine gives no report: /);
  expect(text).toMatch(says);
  expect(more).toEqual([]);
});
