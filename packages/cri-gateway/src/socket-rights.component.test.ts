// Who may open the gateway's socket, tried by processes of other users.
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Gateway } from "./gateway.ts";
import { QUIET } from "./testing.ts";

const [NOBODY, GROUP] = [65534, 45_678];

/** Whether a process of nobody's, in this group, gets a connection; else the kernel's word. */
function connects(socket: string, group: number): Promise<string> {
  const script = `require("node:net").connect(process.argv[1])
    .on("connect", () => { console.log("connected"); process.exit(); })
    .on("error", ({ code }) => console.log(code));`;
  const as = ["--reuid", String(NOBODY), "--regid", String(group), "--clear-groups"];
  const words = [...as, process.execPath, "-e", script, socket];
  return new Promise((resolve, reject) => {
    execFile("setpriv", words, (error, stdout) => {
      if (error === null) resolve(stdout.trim());
      else reject(new Error(`setpriv: ${error.message}`, { cause: error }));
    });
  });
}

test.each([
  ["", 600, "EACCES"],
  [String(GROUP), 660, "connected"],
])(
  "with group %j of the configuration its mode is %i, and to that group it says %s",
  async (group, mode, said) => {
    const dir = await mkdtemp(join(tmpdir(), "trine-rights-"));
    await chmod(dir, 0o755);
    const socket = join(dir, "cri.sock");
    const untrusted = { handler: "", backEnd: "", hostAccess: "refuse" as const };
    const backEnds = [{ name: "a", socket: join(dir, "a.sock") }];
    const gateway = await Gateway.start({
      config: { ...{ socket, group, backEnds, untrusted }, rules: [] },
      log: QUIET,
      onCall: () => undefined,
    });
    try {
      expect(((await stat(socket)).mode & 0o777).toString(8)).toBe(String(mode));
      expect(await connects(socket, GROUP)).toBe(said);
      expect(await connects(socket, NOBODY)).toBe("EACCES");
    } finally {
      await gateway.stop();
      await rm(dir, { recursive: true });
    }
  },
);
