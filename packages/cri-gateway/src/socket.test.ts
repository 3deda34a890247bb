// Whose the gateway's socket is.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Gateway } from "./gateway.ts";
import { QUIET, Rig } from "./testing.ts";

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

test("a socket somebody answers on is left to them; one that nobody has is replaced", async () => {
  rig = await Rig.start({ a: {} });
  const config = {
    backEnds: [{ name: "a", socket: rig.backEnd("a").socket }],
    rules: [],
    untrusted: { handler: "", backEnd: "", hostAccess: "refuse" as const },
    group: "",
  };
  const start = (socket: string): Promise<Gateway> =>
    Gateway.start({ config: { ...config, socket }, log: QUIET, onCall: () => undefined });
  // By another path: a link to the directory.
  const link = join(rig.dir, "link");
  await symlink(rig.dir, link);
  for (const socket of [join(link, "a.sock"), join(link, "cri.sock")]) {
    await expect(start(socket)).rejects.toMatchObject({ kind: "alreadyExists" });
  }
  expect((await rig.client.raw("ListPodSandbox", Buffer.alloc(0))).code).toBe(0);
  const left = join(rig.dir, "left.sock");
  const script = `require("net").createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, "SIGKILL"))`;
  await once(spawn(process.execPath, ["-e", script]), "exit");
  expect((await stat(left)).isSocket()).toBe(true);
  const other = await start(left);
  await other.stop();
});

test("only root may open the socket", async () => {
  rig = await Rig.start({ a: {} });
  expect((await stat(rig.socket)).mode & 0o777).toBe(0o600);
});
