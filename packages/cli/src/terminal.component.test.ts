// The program in a real terminal, driven as a person would; and the shells' completion.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { pollUntil } from "@trine/base";
import { DIST } from "@trine/testkit";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { BUSYBOX, HandNode } from "./testing/hand-node.ts";
import { Screen } from "./screen.ts";

const run = promisify(execFile);
const BOOT_MS = 120_000;
const MIB = 1024 * 1024;

let hand: HandNode;
let env: NodeJS.ProcessEnv;
let screens: Screen[];

beforeAll(async () => {
  hand = await HandNode.start("2.4");
  const bin = join(hand.dir, "bin");
  await mkdir(bin);
  const launcher = `#!/bin/sh\nexec ${process.execPath} ${join(DIST, "trine.mjs")} "$@"\n`;
  await writeFile(join(bin, "trine"), launcher, { mode: 0o755 });
  const given = hand.environment();
  env = {
    ...given,
    PATH: [bin, given["PATH"] ?? ""].join(delimiter),
    HOME: hand.dir,
    PS1: "host> ",
  };
  screens = [];
}, 1_800_000);

afterEach(async () => {
  for (const screen of screens) await screen.end();
  screens = [];
  await hand.clear();
});

afterAll(async () => {
  expect(await hand.stop()).toEqual([]);
});

async function open(...argv: string[]): Promise<Screen> {
  const screen = await Screen.start(hand.dir, argv.length === 0 ? ["sh"] : argv, env);
  screens.push(screen);
  return screen;
}

const SHELL = `trine run --rm -it --name tty --progress auto`;

test("run -it and exec -it: what came before the attach, the window's size, ^C, ^D, the exit code", async () => {
  const screen = await open();
  const cgroup = hand.cgroup().join(" ");
  await screen.line(`${SHELL} ${cgroup} ${BUSYBOX} -- sh -c 'echo early; exec sh'; echo code=$?`);
  // The prompt was printed long before anybody was attached.
  const first = await screen.until(/early\n(.*\n)*\/ # *$/m);
  // Progress is one line, rewritten and at last taken away.
  expect(first).not.toMatch(/creating the sandbox[^]*preparing volumes/);
  await screen.line("stty size");
  await screen.until(/^30 100$/m);
  await screen.resize(120, 40);
  await screen.line("stty size");
  await screen.until(/^40 120$/m);
  await screen.line("echo begun; sleep 1000");
  await screen.until(/^begun$/m);
  await screen.press("C-c");
  await screen.line("echo still-here");
  await screen.until(/^still-here$/m);
  const second = await Screen.start(hand.dir, ["/bin/sh"], env);
  screens.push(second);
  await second.line("trine exec -it tty -- sh; echo code=$?");
  await second.until(/\/ # *$/m);
  await second.line("tty; exit 6");
  await second.until(/^code=6$/m);
  await screen.line("exit 3");
  await screen.until(/^code=3$/m);
  await screen.line("stty -a | grep -o -- '-*icanon'; echo over");
  expect(await screen.until(/^over$/m)).toMatch(/^icanon$/m);
  expect(await hand.remains()).toEqual([]);
}, 180_000);

test("the terminal is as it was after SIGTERM, and run --rm has removed its pod", async () => {
  const screen = await open();
  const cgroup = hand.cgroup().join(" ");
  await screen.line(`${SHELL} ${cgroup} ${BUSYBOX} -- sh & fg; echo code=$?`);
  await screen.until(/\/ # *$/m);
  const { stdout } = await run("pgrep", ["-f", `${join(DIST, "trine.mjs")} run --rm -it`]);
  const pids = stdout.trim().split("\n").map(Number);
  // This node's alone: its control group is in the command line.
  for (const pid of pids) if (await isOurs(pid)) process.kill(pid, "SIGTERM");
  await screen.until(/^code=143$/m);
  await screen.line("stty -a | grep -o -- '-*icanon'; echo over");
  expect(await screen.until(/^over$/m)).toMatch(/^icanon$/m);
  expect((await hand.trine("ps", "-q")).stdout).toBe("");
  expect(await hand.remains()).toEqual([]);
}, 120_000);

async function isOurs(pid: number): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""); // it has ended
  return line.includes(hand.node.containerd.cgroupParent);
}

test("console: two people, one pen; ^C goes to the guest; the machine and trined start anew; ^] leaves", async () => {
  const image = "trine.test/tiny-guest:1";
  const flags = ["--level", "vm", "--name", "vm", "--memory", "128Mi"];
  expect(await hand.run(...flags, "--annotation", "trine.dev/display=on", image)).toMatchObject({
    code: 0,
  });
  const first = await open();
  await first.line("trine console vm; echo code=$?");
  await first.until(/TINY-GUEST READY[^]*tiny# *$/m, BOOT_MS);
  await first.line("stty -isig; cat -v");
  await first.until(/cat -v\n/);
  await first.press("C-c", "Enter");
  await first.until(/^\^C$/m);
  await first.press("C-d");
  await first.until(/\^C\ntiny# *$/m);
  await first.line("echo typed-$((40+2))");
  await first.until(/^typed-42$/m);

  const second = await Screen.start(hand.dir, ["/bin/sh"], env);
  screens.push(second);
  await second.line("trine console vm; echo code=$?");
  await second.until(/You watch: process \d+ writes/);
  await second.line("never");
  await second.until(/Not sent: process \d+ writes; --take-over takes it/);
  await second.press("C-]");
  await second.until(/^code=0$/m);
  await second.line("trine console vm --take-over");
  await first.until(/You watch: process \d+ writes/);
  await second.line("echo taken-$((1+1))");
  await second.until(/^taken-2$/m);
  expect(await first.until(/^taken-2$/m)).not.toContain("never");
  const piped = await hand.begin(["console", "vm"], "lost\n").ended;
  expect(piped).toMatchObject({ code: 5 });
  expect(piped.stderr).toContain("is written to by another");

  const shot = join(hand.dir, "shot.png");
  expect(await hand.trine("vnc", "vm", "--screenshot", shot)).toMatchObject({
    code: 0,
    stderr: "",
  });
  const { stdout } = await run("od", ["-An", "-c", "-N", "8", shot]);
  expect(stdout).toMatch(/211 +P +N +G/);

  // A daemon that is away is nothing to a console; a machine that starts anew is come back to.
  await hand.node.killTrined();
  await second.line("echo without-$((1+2))");
  await second.until(/^without-3$/m);
  await hand.node.startTrined();
  expect(await hand.trine("restart", "vm", "--grace", "0")).toMatchObject({ code: 0 });
  await second.until(/The console of vm closed[^]*Connected again[^]*tiny# *$/m, BOOT_MS);
  await second.press("C-]");
  // Whoever came back first writes; the other does now that this one has left.
  await first.until(/Connected again\.(?:(?!You watch)[^])*$|You write/);
  await first.press("C-]");
  await first.until(/^code=0$/m);
  await first.line("stty -a | grep -o -- '-*icanon'; echo over");
  expect(await first.until(/^over$/m)).toMatch(/^icanon$/m);
  const pods = await readdir(join(hand.node.stateDir, "pods"));
  for (const pod of pods) {
    expect(await readdir(join(hand.node.stateDir, "pods", pod, "pens"))).toEqual([]);
  }
  expect(await hand.trine("rm", "vm", "--grace", "0")).toMatchObject({ code: 0 });
}, 400_000);

test("an import's bar: as far as the server sends, taken away at ^C, and nothing is kept", async () => {
  const total = 8 * MIB;
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-length": total }).write(Buffer.alloc(total / 2 + 4096, 1));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  try {
    const screen = await open();
    const url = `http://127.0.0.1:${port}/disk.raw`;
    await screen.line(`trine image import ${url} --name localhost/bar:1; echo code=$?`);
    await screen.until(/downloading \d+% of 8\.0 MiB \[#+-+\]/);
    await screen.press("C-c");
    const over = await screen.until(/^code=130$/m);
    expect(over).not.toContain("[#");
    expect(over).toMatch(/^trine: interrupted$/m);
    expect(await readdir(join(hand.dir, "data/imports"))).toEqual([]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}, 120_000);

test("a person is asked before a running pod or an image goes; with --yes nobody is", async () => {
  for (const name of ["keep", "over"]) {
    await hand.run("--name", name, BUSYBOX, "--", name === "keep" ? "sleep" : "true", "1000");
  }
  expect(await hand.trine("wait", "over")).toMatchObject({ code: 0 });
  expect(await hand.trine("image", "tag", BUSYBOX, "localhost/asked:1")).toMatchObject({ code: 0 });
  const screen = await open();
  await screen.line("trine rm keep over --grace 0; echo code=$?");
  await screen.until(/remove default\/keep, which runs, with logs and volumes\? \[y\/N\] *$/m);
  await screen.line("n");
  await screen.until(/nothing was removed\ncode=1$/m);
  await screen.clear();
  await screen.line("trine rm keep; echo code=$?");
  await screen.until(/\[y\/N\] *$/m);
  await screen.press("C-c");
  await screen.until(/^code=130$/m);
  await screen.clear();
  // What has ended has nothing to lose.
  await screen.line("trine rm over; echo code=$?");
  await screen.until(/default\/over removed\ncode=0$/m);
  await screen.clear();
  await screen.line("trine image rm localhost/asked:1; echo code=$?");
  await screen.until(/remove localhost\/asked:1\? \[y\/N\] *$/m);
  await screen.line("yes");
  await screen.until(/localhost\/asked:1 removed\ncode=0$/m);
  await screen.clear();
  await screen.line("trine rm keep --grace 0 --yes; echo code=$?");
  const last = await screen.until(/default\/keep removed\ncode=0$/m);
  expect(last).not.toContain("[y/N]");
  expect(await hand.remains()).toEqual([]);
}, 120_000);

/** Presses Tab until it answers: names that do not come in time are left out. */
async function completes(
  shell: readonly string[],
  init: string,
  typed: string,
  wanted: RegExp,
): Promise<void> {
  const screen = await open(...shell);
  await screen.line(`${init}; echo begun-$((1+1))`);
  await screen.until(/^begun-2$/m);
  await screen.type(typed);
  await pollUntil(String(wanted), { ms: 90_000, everyMs: 2_000 }, async () => {
    if (wanted.test(await screen.text())) return true;
    await screen.press("Tab");
    return undefined;
  });
}

test("completion in bash, zsh and fish: commands, flags, their values, and the names of pods", async () => {
  for (const name of ["web-one", "web-two"]) {
    const label = ["--label", "app=web"];
    await hand.run("--name", name, ...label, BUSYBOX, "--", "sleep", "1000");
  }
  const bash = ["bash", "--norc"];
  const bashInit = "source <(trine completion bash)";
  await completes(bash, bashInit, "trine why web-o", /trine why web-one/);
  await completes(bash, bashInit, "trine ps --output=jsonp", /--output=jsonpath=/);
  const zsh = ["zsh", "-f"];
  const zshInit = "autoload -Uz compinit; compinit -u -D; source <(trine completion zsh)";
  await completes(zsh, zshInit, "trine exec web-t", /trine exec web-two/);
  await completes(zsh, zshInit, "trine port-", /trine port-forward/);

  // Names that do not come in time are left out: a busy machine is asked again.
  const ask = (line: string): Promise<string> =>
    pollUntil(line, { ms: 60_000 }, async () => {
      const script = `trine completion fish | source; complete -C '${line}'`;
      return (await run("fish", ["-c", script], { env })).stdout || undefined;
    });
  expect(await ask("trine logs web")).toBe("web-one\tcontainer\nweb-two\tcontainer\n");
  expect(await ask("trine logs web-one -c ")).toBe("main\n");
  expect(await ask("trine stop -l a")).toBe("app=web\n");
  expect(await ask("trine run --level m")).toBe("microvm\n");
  expect(await ask("trine run trine.test/b")).toBe(`${BUSYBOX}\n`);
  expect(await ask("trine logs --ta")).toContain("--tail\t");
  expect(await ask("trine rm web-one web-")).toBe("web-two\tcontainer\n");
}, 180_000);
