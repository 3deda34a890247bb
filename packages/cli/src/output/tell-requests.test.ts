import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { listing, runWith, samplePod, withNodeApi } from "../testing.ts";
import { tellRequests } from "./tell-requests.ts";

test("each request by method, target, status and time; twice verbose: sizes, and when it is sent", () => {
  const stderr = new PassThrough({ encoding: "utf8" });
  const told: string[] = [];
  stderr.on("data", (line: string) => told.push(line));
  const verbosity = { level: 0 };
  const onRequest = tellRequests({ stderr }, verbosity);
  expect(onRequest({ method: "GET", target: "/a" })).toBeUndefined();
  verbosity.level = 1;
  onRequest({ method: "GET", target: "/a\u001b", sentBytes: 3 })?.({
    status: "200",
    receivedBytes: 9,
  });
  verbosity.level = 2;
  onRequest({ method: "gRPC", target: "/b", sentBytes: 3 })?.({ status: "ok", receivedBytes: 9 });
  const lines = told
    .join("")
    .trim()
    .split("\n")
    .map((line) => line.replace(/\d+\.\d ms/, "T ms"));
  expect(lines).toEqual([
    "trine: request 1 GET /a?: 200, T ms",
    "trine: request 2 gRPC /b: sent, 3 bytes",
    "trine: request 2 gRPC /b: ok, T ms, 9 bytes",
  ]);
});

test("-v before the command and after it, on stderr alone; -v of run is a volume", async () => {
  await withNodeApi(listing(samplePod("web", "aaa111")), async (stateDir) => {
    for (const argv of [
      ["-v", "console", "x"],
      ["console", "x", "--verbose"],
    ]) {
      const ran = await runWith(stateDir, argv);
      expect(ran).toMatchObject({ code: 3, stdout: "" });
      expect(ran.stderr).toMatch(/^trine: request 1 GET unix:\/\/.*\/api\.sock \/v1\/pods: 200, /);
    }
    const twice = await runWith(stateDir, ["console", "x", "-vv"]);
    expect(twice.stderr.match(/^trine: request 1 /gm)).toHaveLength(2);
    const unreached = await runWith(stateDir, ["ps", "-v"]);
    expect(unreached.stderr).toMatch(/gRPC unix:\/\/.* \/runtime\.v1\.\w+\/\w+: unavailable, /);
  });
  const volume = await runWith("/nowhere", ["run", "x", "-v", "/a"]);
  expect(volume.stderr).toContain("PATH-IN-CONTAINER");
});
