// The tables that `trine install --gvisor` adds, on the real containerd with the real gVisor.
import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gvisorBinaries, startContainerd } from "@trine/testkit";
import { GVISOR_CHECKS } from "../node/check-gvisor.ts";
import { gvisorFrom, gvisorSteps } from "./gvisor-steps.ts";
import { handlerTables } from "./testing.ts";

const DOCTOR_MS = 120_000;

test("a pod runs behind gVisor, and doctor says so", { timeout: 3_600_000 }, async () => {
  const programs = await gvisorFrom(await gvisorBinaries());
  const dir = await mkdtemp(join(tmpdir(), "tg-"));
  const node = await startContainerd({
    version: "2.4",
    dir: join(dir, "c"),
    runtimes: [],
    shimDir: programs.dir,
  });
  try {
    const place = { stateDir: dir, containerd: node.socket, qemu: "/nowhere" };
    const check = (): ReturnType<(typeof GVISOR_CHECKS)[0]["run"]> =>
      GVISOR_CHECKS[0].run(place, AbortSignal.timeout(DOCTOR_MS));
    expect(await check()).toMatchObject({ detail: expect.stringMatching(/not set up/) as string });

    const steps = gvisorSteps("/usr/local", programs);
    const config = steps.find((step) => step.kind === "text")?.edit(undefined) ?? "";
    const here = config.replace("/usr/local/bin", programs.dir);
    await writeFile(join(dir, "runsc.toml"), here);
    const table = (await handlerTables()).gvisor[3].replace(/^version = .*$/m, "");
    const moved = table.replace("/etc/containerd/runsc.toml", join(dir, "runsc.toml"));
    await appendFile(join(node.dir, "config.toml"), moved);
    await node.restart();
    expect(await check()).toEqual({ status: "ok", detail: "a pod runs behind it" });
  } finally {
    const left = await node.stop();
    await rm(dir, { recursive: true, force: true });
    expect(left).toEqual([]);
  }
});
