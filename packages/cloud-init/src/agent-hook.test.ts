import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { agentHook } from "./agent-hook.ts";
import type { GuestMount } from "./share-hook.ts";

const run = promisify(execFile);
const SHARES: readonly GuestMount[] = [
  { name: "data", target: "/data dir/$x", kind: "directory", readOnly: false },
  { name: "f", target: "/etc/it's", kind: "file", readOnly: true },
];
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-agent-hook-"));
  await mkdir(join(dir, "run/agent/seed"), { recursive: true });
  await writeFile(join(dir, "run/agent/seed/trine-agent"), "the program");
  await mkdir(join(dir, "bin"));
  for (const name of ["mount", "umount", "systemd-run", "setsid", "sleep"]) await noting(name);
});
afterEach(() => rm(dir, { recursive: true }));

/** A program that notes what it was told; `then` is what it does beside. */
async function noting(name: string, then = ""): Promise<void> {
  const file = join(dir, "bin", name);
  await writeFile(file, `#!/bin/sh\necho "${name} $*" >>"${dir}/calls"\n${then}\n`);
  await chmod(file, 0o755);
}

/** The script in a directory of its own instead of the guest's root. */
async function started(script: string): Promise<{ calls: string[]; said: string }> {
  const here = script
    .replaceAll("/run/trine", join(dir, "run"))
    .replaceAll("/run/systemd", join(dir, "systemd"))
    .replaceAll("/dev/kmsg", join(dir, "said"));
  await writeFile(join(dir, "script"), here);
  await run("/bin/sh", [join(dir, "script")], { env: { PATH: `${dir}/bin:/usr/bin:/bin` } });
  const text = (name: string): Promise<string> => readFile(join(dir, name), "utf8").catch(() => ""); // nothing was said
  const calls = (await text("calls")).replaceAll(dir, "DIR").split("\n").filter(Boolean);
  return { calls, said: await text("said") };
}

test("the program goes from the seed to memory and is started as a service, once a boot", async () => {
  await mkdir(join(dir, "systemd/system"), { recursive: true });
  const { calls } = await started(agentHook("cidata"));
  expect(calls.slice(0, 3)).toEqual([
    "mount -t tmpfs -o mode=0700,size=16m trine-agent DIR/run/agent",
    "mount -t iso9660 -o ro /dev/disk/by-label/cidata DIR/run/agent/seed",
    "umount DIR/run/agent/seed",
  ]);
  expect(calls[3]).toMatch(
    /^systemd-run .*--unit=trine-agent.* DIR\/run\/agent\/trine-agent --machine$/,
  );
  expect((await stat(join(dir, "run/agent/trine-agent"))).mode & 0o777).toBe(0o500);
  expect((await started(agentHook("cidata"))).calls).toEqual(calls);
});

test("volumes are listed for it before it starts, and waited for", async () => {
  // Its way of saying that they are there.
  await noting("setsid", `: >"${dir}/run/agent/shares.told"`);
  const { calls, said } = await started(agentHook("config-2", { shares: SHARES }));
  expect(await readFile(join(dir, "run/agent/shares"), "utf8")).toBe(
    "directory\trw\tdata\t/data dir/$x\nfile\tro\tf\t/etc/it's\n",
  );
  expect(calls).toContain(
    "setsid DIR/run/agent/trine-agent --machine --shares DIR/run/agent/shares",
  );
  expect(said).toBe("");
});

test("volumes that cannot be mounted, or do not come, are told of and keep nothing from coming up", async () => {
  const told = `"${dir}/run/agent/shares.told"`;
  await noting("setsid", `printf no-9p >"${dir}/new"; mv "${dir}/new" ${told}`);
  expect((await started(agentHook("cidata", { shares: SHARES }))).said).toBe(
    "trine: the pod's volumes: no-9p\n",
  );
  for (const name of ["run/agent/trine-agent", "calls"]) await rm(join(dir, name));
  await rm(join(dir, "run/agent/shares.told"));
  await noting("setsid");
  const { calls, said } = await started(agentHook("cidata", { shares: SHARES }));
  expect(said).toContain("trine: the pod's volumes are not there yet\n");
  expect(calls.filter((call) => call.startsWith("sleep"))).toHaveLength(600);
});

test("it is told the ports of containers", async () => {
  const { calls } = await started(agentHook("cidata", { shares: SHARES, ports: [443, 8080] }));
  const place = "DIR/run/agent";
  expect(calls).toContain(
    `setsid ${place}/trine-agent --machine --shares ${place}/shares --ports 443,8080`,
  );
});
