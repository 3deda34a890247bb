import { once } from "node:events";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { pollUntil } from "@trine/base";
import { afterEach, expect, test, vi } from "vitest";
import { runTrine } from "../program.ts";
import { listing, placesOf, runWith, samplePod, withNodeApi } from "../testing.ts";

const GREETING = "RFB 003.008\n";

afterEach(() => {
  vi.unstubAllEnvs();
});

/** A machine with a display that greets and closes when it has heard the same. */
async function withDisplay(body: (stateDir: string) => Promise<void>): Promise<void> {
  let socket = "";
  await withNodeApi(
    (request, response) => {
      listing(samplePod("web", "aaa111", { vncSocket: socket }), samplePod("plain", "bbb222"))(
        request,
        response,
      );
    },
    async (stateDir) => {
      socket = join(stateDir, "vnc.sock");
      const display = createServer((viewer) => {
        viewer.write(GREETING);
        viewer.on("data", (chunk: Buffer) => {
          if (chunk.toString() === GREETING) viewer.end("bye");
        });
        viewer.on("error", () => undefined);
      }).listen(socket);
      await once(display, "listening");
      try {
        await body(stateDir);
      } finally {
        display.close();
      }
    },
  );
}

test("without a screen a port leads to the display until ^C", async () => {
  vi.stubEnv("DISPLAY", undefined);
  vi.stubEnv("WAYLAND_DISPLAY", undefined);
  await withDisplay(async (stateDir) => {
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const stop = new AbortController();
    let said = "";
    stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    stderr.resume();
    const io = { ...placesOf(stateDir), stdin, stdout, stderr, signal: stop.signal };
    const ended = runTrine(["vnc", "web"], io);
    const port = await pollUntil(
      "it listens",
      { ms: 20_000 },
      () => /^vnc:\/\/127\.0\.0\.1:(\d+)\n$/.exec(said)?.[1],
    );
    const viewer = connect(Number(port), "127.0.0.1");
    viewer.write(GREETING);
    expect(await text(viewer)).toBe(`${GREETING}bye`);
    stop.abort();
    expect(await ended).toBe(130);
    const late = connect(Number(port), "127.0.0.1");
    await expect(once(late, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });
});

/** What a viewer does, as far as this program is concerned. */
const VIEWER = `#!${process.execPath}
const { connect } = require("node:net");
const { writeFileSync } = require("node:fs");
const { hostname, port } = new URL(process.argv[2]);
const socket = connect(Number(port), hostname);
socket.on("data", (chunk) => { writeFileSync(process.env.SEEN, chunk); process.exit(Number(process.env.CODE)); });
`;

test("with a screen a viewer is opened, and its end is the command's", async () => {
  await withDisplay(async (stateDir) => {
    const bin = join(stateDir, "bin");
    await mkdir(bin);
    await writeFile(join(bin, "remote-viewer"), VIEWER, { mode: 0o755 });
    const seen = join(stateDir, "seen");
    vi.stubEnv("DISPLAY", ":7");
    vi.stubEnv("PATH", bin);
    vi.stubEnv("SEEN", seen);
    vi.stubEnv("CODE", "0");
    expect(await runWith(stateDir, ["vnc", "web"])).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await readFile(seen, "utf8")).toBe(GREETING);
    vi.stubEnv("CODE", "3");
    const failed = await runWith(stateDir, ["vnc", "web"]);
    expect(failed).toMatchObject({ code: 1, stdout: "" });
    expect(failed.stderr).toMatch(/remote-viewer ended with 3/);
  });
});

test("a machine without a display is refused with the annotation that gives it one", async () => {
  await withDisplay(async (stateDir) => {
    const refused = await runWith(stateDir, ["vnc", "plain"]);
    expect(refused).toMatchObject({ code: 5, stdout: "" });
    expect(refused.stderr).toContain('trine.dev/display: "on"');
  });
});

test("a picture of a machine without a display is refused too, and no file is left", async () => {
  await withDisplay(async (stateDir) => {
    const pictures = join(stateDir, "pictures");
    await mkdir(pictures);
    const file = join(pictures, "plain.png");
    const refused = await runWith(stateDir, ["vnc", "plain", "--screenshot", file]);
    expect(refused).toMatchObject({ code: 5, stdout: "" });
    expect(refused.stderr).toContain('trine.dev/display: "on"');
    expect(await readdir(pictures)).toEqual([]);
  });
});
