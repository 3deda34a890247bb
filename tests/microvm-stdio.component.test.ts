// Terminals, standard input, exec and attach: the same containers under runc and in a microvm.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, pollUntil, withDeadline } from "@trine/base";
import type { RemoteCommand } from "@trine/containerd-client";
import { runCommand } from "@trine/testkit";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EXEC_MS, execIn } from "./exec-in.ts";
import type { Exec } from "./exec-in.ts";
import { startMicrovmNode } from "./microvm-node.ts";
import { PodPair } from "./pod-pair.ts";
import type { PodOfTest } from "./pod-pair.ts";

let node: TrineNode;
let pair: PodPair;

beforeAll(async () => {
  const started = await startMicrovmNode();
  node = started.node;
  pair = await PodPair.start(node, started.image, { name: "stdio" });
}, 1_800_000);

afterAll(async () => {
  await pair.remove();
  expect(await node.stop()).toEqual([]);
});

const shell = (script: string): string[] => ["/bin/sh", "-c", script];
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** All values of a byte, no two blocks alike. */
function noise(bytes: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) data.writeUInt32LE((at * 2_654_435_761) % 2 ** 32, at);
  return data;
}

describe("exec", () => {
  test("exit status, signals, both outputs, no input, a terminal, a process left behind", async () => {
    const commands: Exec[] = [
      { cmd: shell("echo out; echo err >&2; exit 3") },
      { cmd: shell("kill -9 $$") },
      { cmd: shell("kill -TERM $$") },
      { cmd: shell("cat; echo end") },
      { cmd: shell("tty; ls -l /proc/self/fd/0 | grep -c pts; echo err >&2"), tty: true },
      { cmd: shell("sleep 1000 >/dev/null 2>&1 & echo left") },
      { cmd: shell("head -c 3; exit 4"), input: Buffer.from("abcdef") },
    ];
    const seen = await pair.compare({}, async (container) => {
      const all: string[] = [];
      for (const each of commands) {
        const { status, out, err } = await execIn(node, container, each);
        all.push(JSON.stringify([status, out.toString(), err]));
      }
      return all.join("\n");
    });
    expect(seen.microvm).toBe(seen.runc);
    expect(seen.runc).toContain('[3,"out\\n","err\\n"]\n[137,"",""]\n[143,"",""]\n[0,"end\\n",""]');
  }, 180_000);

  test("a program that cannot be run is refused in the words that tools look for", async () => {
    const cases = [["/no/such"], ["nosuch"], ["/etc/passwd"]];
    const seen = await pair.compare({}, async (container) => {
      const all = [];
      for (const cmd of cases) all.push((await execIn(node, container, { cmd })).status);
      return all
        .map((text) => /exec: "[^"]*": (stat [^:]*: )?[^:]*/.exec(String(text))?.[0] ?? text)
        .join("\n");
    });
    expect(seen.microvm).toBe(seen.runc);
    expect(seen.runc).toContain('exec: "nosuch": executable file not found in $PATH');
  }, 120_000);

  test("8 MiB of any bytes through it, and through a raw terminal every byte", async () => {
    const data = noise(8 << 20);
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const seen = await pair.compare({}, async (container) => {
      const { status, out } = await execIn(node, container, { cmd: ["/bin/cat"], input: data });
      const { containerId } = container;
      const cmd = shell("stty raw -echo; echo go; head -c 256 | sha256sum");
      const want = { stdin: true, stdout: true, tty: true };
      const raw = await node.containerd.cri.exec({ containerId, cmd, ...want });
      let heard = "";
      raw.stdout?.on("data", (bytes: Buffer) => (heard += bytes.toString()));
      await untilHeard(() => heard, "go");
      raw.stdin?.write(all);
      await untilHeard(() => heard, " -");
      raw.close();
      return [status, digest(out), heard.trim()].join(" ");
    });
    expect(seen.microvm).toBe(seen.runc);
    expect(seen.runc).toContain(digest(data));
    expect(seen.runc).toContain(digest(all));
  }, 180_000);

  test("tar both ways, as kubectl cp does it", async () => {
    const dir = join(node.dir, "copy");
    await mkdir(join(dir, "deep"), { recursive: true });
    await writeFile(join(dir, "deep/noise"), noise(1 << 20));
    await writeFile(join(dir, "a name"), "text\n", { mode: 0o600 });
    const archive = join(node.dir, "copy.tar");
    await runCommand("tar", ["-cf", archive, "-C", dir, "."]);
    const input = await readFile(archive);
    const unpack =
      "mkdir /c && tar xf - -C /c && cd /c && find . -type f | sort | xargs -d '\\n' stat -c '%n %a %s'";
    const seen = await pair.compare({}, async (container) => {
      const there = await execIn(node, container, { cmd: shell(unpack), input });
      const back = await execIn(node, container, {
        cmd: shell("tar cf - -C /c/deep noise | tar xOf -"),
      });
      return [there.status, there.out.toString(), there.err, digest(back.out)].join("\n");
    });
    expect(seen.microvm).toBe(seen.runc);
    expect(seen.runc).toContain(digest(noise(1 << 20)));
  }, 120_000);

  test("ExecSync ends at its timeout and takes its process along", async () => {
    const seen = await pair.compare({}, async ({ containerId }, pod) => {
      const { runtime } = node.containerd.cri;
      const cmd = shell("echo part; exec sleep 4321");
      const said = await runtime
        .execSync({ containerId, cmd, timeout: 1n })
        .then(() => "it ended", messageOf);
      await pollUntil("the process is gone", { ms: 20_000, everyMs: 200 }, async () =>
        (await pod.sh({ containerId }, "ps -o args | grep -c '[s]leep 4321'")).startsWith("0")
          ? true
          : undefined,
      );
      return said;
    });
    expect(seen.microvm).toBe(seen.runc);
    expect(seen.runc).toContain("timeout 1s exceeded");
  }, 120_000);
});

async function untilHeard(heard: () => string, wanted: string): Promise<void> {
  await pollUntil(`the terminal says ${wanted}`, { ms: EXEC_MS }, () =>
    heard().includes(wanted) ? true : undefined,
  );
}

/** Attaches and collects what it says. */
async function attach(
  { containerId }: RunningPod,
  tty: boolean,
): Promise<{ remote: RemoteCommand; type: (text: string) => void; heard: () => string }> {
  const want = { stdin: true, stdout: true, tty };
  const remote = await node.containerd.cri.attach({ containerId, ...want });
  let heard = "";
  remote.stdout?.on("data", (bytes: Buffer) => (heard += bytes.toString()));
  return {
    remote,
    type: (text) => remote.stdin?.write(text),
    heard: () => heard,
  };
}

describe("attach", () => {
  test("a terminal: its size and changes of it, ^C, letting go and coming back, its exit status", async () => {
    const config = { command: shell("stty -echo; exec sh"), tty: true, stdin: true };
    const seen = await pair.compare(config, async (container, pod) => {
      const first = await attach(container, true);
      first.remote.resize({ width: 100, height: 40 });
      const size = async (text: string): Promise<void> => {
        first.type(
          `until [ "$(stty size)" = "${text}" ]; do sleep 0.1; done; echo "is $(stty size)"\n`,
        );
        await untilHeard(first.heard, `is ${text}`);
      };
      await size("40 100");
      first.remote.resize({ width: 120, height: 50 });
      await size("50 120");
      first.type("sleep 4321\n");
      await pollUntil("it sleeps", { ms: EXEC_MS, everyMs: 200 }, async () =>
        (await pod.sh(container, "ps -o args | grep -c '[s]leep 4321'")).startsWith("1")
          ? true
          : undefined,
      );
      first.type("\x03");
      first.type("echo status=$?\n");
      await untilHeard(first.heard, "status=130");
      first.remote.close();
      const second = await attach(container, true);
      second.type("echo again=$((40 + 2)); exit 7\n");
      await untilHeard(second.heard, "again=42");
      const { exitCode, reason } = await node.ended(container);
      return `${exitCode} ${reason}`;
    });
    expect(seen.microvm).toBe(seen.runc);
    expect(seen.runc).toBe("7 Error");
  }, 180_000);

  test("stdin: kept open from one attach to the next, or closed with the first (stdinOnce)", async () => {
    const command = shell("while read -r line; do echo got $line; done; echo closed");
    const kept = await pair.compare({ command, stdin: true }, async (container) => {
      for (const word of ["one", "two"]) {
        const { remote, type } = await attach(container, false);
        type(`${word}\n`);
        await node.untilOutput(container, `got ${word}\n`);
        remote.close();
      }
      return node.output(container);
    });
    expect(kept).toEqual({ runc: "got one\ngot two\n", microvm: "got one\ngot two\n" });
    const once = await pair.compare(
      { command, stdin: true, stdinOnce: true },
      async (container) => {
        const { remote } = await attach(container, false);
        remote.stdin?.end("one\n");
        const { exitCode } = await node.ended(container);
        return `${await node.untilOutput(container, "closed\n")}${exitCode}`;
      },
    );
    expect(once).toEqual({ runc: "got one\nclosed\n0", microvm: "got one\nclosed\n0" });
  }, 180_000);
});

test("100,000 lines of output are all there and in order", async () => {
  const container = await pair.microvm.run({ command: shell("seq 1 100000; echo end") });
  const output = await node.untilOutput(container, "end\n", 120_000);
  const lines = output.trim().split("\n");
  expect(lines).toHaveLength(100_001);
  expect(lines.findIndex((line, index) => line !== String(index + 1))).toBe(100_000);
}, 180_000);

test("an exec with a terminal goes on while the daemon is killed and started", async () => {
  const pod: PodOfTest = pair.microvm;
  const container = await pod.run({});
  const { containerId } = container;
  const want = { stdin: true, stdout: true, tty: true };
  const cmd = shell("stty -echo; while read -r line; do echo got=$line; done; exit 9");
  const open = await node.containerd.cri.exec({ containerId, cmd, ...want });
  let heard = "";
  open.stdout?.on("data", (bytes: Buffer) => (heard += bytes.toString()));
  open.stdin?.write("before\n");
  await untilHeard(() => heard, "got=before");
  await node.killTrined();
  open.stdin?.write("without\n");
  await untilHeard(() => heard, "got=without");
  await node.startTrined();
  open.stdin?.write("after\n");
  await untilHeard(() => heard, "got=after");
  open.stdin?.write("\x04");
  expect(await withDeadline("the exec ends", EXEC_MS, open.exit)).toBe(9);
  expect(await pod.sh(container, "echo a new one")).toBe("a new one\n");
}, 180_000);
