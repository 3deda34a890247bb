import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { defaultConfig } from "./config/read-config.ts";
import { runTrine } from "./program.ts";
import { listing, placesOf, runWith, samplePod, withNodeApi } from "./testing.ts";
import type { Ran } from "./testing.ts";
import { parseAs } from "./testing/schema.ts";
import { VERSION } from "./version.ts";

const NOWHERE = "/nowhere";

const COMMANDS = [
  ...["run", "apply", "start", "restart", "stop", "rm", "pause", "resume", "ps", "logs", "inspect"],
  ...["top", "events", "why", "exec", "attach", "console", "cp", "port-forward", "image", "doctor"],
  ...["wait", "config", "help"],
];

test("help and version go to stdout and are a success", async () => {
  const help = await runWith(NOWHERE, ["--help"]);
  expect(help).toMatchObject({ code: 0, stderr: "" });
  for (const word of COMMANDS) {
    expect(help.stdout).toContain(`\n  ${word}`);
    const own = await runWith(NOWHERE, [word, "--help"]);
    expect(own).toMatchObject({ code: 0, stderr: "" });
    if (word !== "image" && word !== "config")
      expect(own.stdout.split("Examples:")[1]?.trim().split("\n").length).toBe(2);
  }
  expect(await runWith(NOWHERE, ["--version"])).toMatchObject({ code: 0, stdout: `${VERSION}\n` });
  const manifest = await readFile(join(import.meta.dirname, "../package.json"), "utf8");
  expect(JSON.parse(manifest)).toMatchObject({ version: VERSION });
});

test.each([
  [[], /Usage: trine/],
  [["pss"], /trine: unknown command 'pss'.*Did you mean ps/s],
  [["ps", "web"], /too many arguments/],
  [["ps", "--all"], /unknown option '--all'/],
  [["ps", "-o", "xml"], /'xml' is invalid.*table, wide, json, yaml, name, csv, jsonpath=/],
  [["ps", "--columns", "a,,b"], /commas between/],
  [["ps", "-o", "jsonpath={.a"], /'jsonpath=.*there are/],
  [["ps", "-n", "A"], /Lower-case/],
  [["ps", "-l", "a b"], /selector "a b"/],
  [["run"], /missing required argument 'image'/],
  [["run", "a b"], /image: an image's name is wanted/],
  [["run", "x", "--name", "A"], /metadata\.name: lower-case/],
  [["run", "x", "--level", "jail"], /container, microvm, vm/],
  [["run", "x", "--runtime", "A b"], /runtimeClassName/],
  [["run", "x", "-e", "A"], /KEY=VALUE/],
  [["run", "x", "-e", "=A"], /KEY=VALUE/],
  [["run", "x", "--label", "A"], /KEY=VALUE/],
  [["run", "x", "--annotation", "A"], /KEY=VALUE/],
  [["run", "x", "-v", "/a"], /PATH-IN-CONTAINER/],
  [["run", "x", "-v", "/a:b"], /PATH-IN-CONTAINER/],
  [["run", "x", "-v", "/a:/b:xx"], /PATH-IN-CONTAINER/],
  [["run", "x", "-p", "80"], /CONTAINER-PORT/],
  [["run", "x", "-p", "80:99999"], /containerPort/],
  [["run", "x", "--memory", "much"], /64Mi/],
  [["run", "x", "--cpus", "-1"], /500m/],
  [["run", "x", "--user", "root"], /whole number/],
  [["run", "x", "--workdir", "tmp"], /absolute path/],
  [["run", "x", "--pull", "now"], /Always, IfNotPresent, Never/],
  [["run", "x", "--cgroup-parent", "x"], /absolute path/],
  [["run", "x", "--wait=maybe"], /true, false/],
  [["run", "x", "--timeout", "5"], /30s/],
  [["run", "x", "--progress", "loud"], /auto, plain, json, none/],
  [["run", "x", "-it"], /needs a terminal/],
  [["run", "x", "--rm", "--wait=false"], /exclude each other/],
  [["apply"], /required option '-f/],
  [["apply", "-f", ""], /file's name/],
  [["apply", "-f", "-", "--pvc", "a=b"], /CLAIM=\/DIRECTORY/],
  [["apply", "-f", "-"], /no Pod in it/],
  [["start"], /which pods/],
  [["stop", "x", "-l", "a=b"], /not both/],
  [["rm", "x", "--grace", "long"], /30s/],
  [["restart", "x", "--grace", "1"], /30s/],
  [["pause"], /which pods/],
  [["resume"], /which pods/],
  [["logs"], /which pods/],
  [["logs", "x", "--tail", "-1"], /whole number/],
  [["logs", "x", "--since", "noon"], /30s/],
  [["exec", "x"], /command is wanted after --/],
  [["exec", "-it", "x", "--", "sh"], /needs a terminal/],
  [["attach"], /missing required argument 'pod'/],
  [["cp", "a", "b"], /one of the two is POD:PATH/],
  [["cp", "x:a", "y:b"], /one of the two is POD:PATH/],
  [["cp", "x:", "b"], /a path is empty/],
  [["port-forward", "x"], /missing required argument 'port'/],
  [["port-forward", "x", "0"], /0: a port is wanted/],
  [["events", "--since", "noon"], /30s/],
  [["events", "--timeout", "x"], /30s/],
  [["why"], /which pods/],
  [["why", "x", "-l", "a=b"], /not both/],
  [["ps", "-o"], /argument missing/],
  [["inspect"], /which pods/],
  [["console"], /missing required argument 'pod'/],
  [["image"], /import/],
  [["image", "import"], /missing required argument 'source'/],
  [["image", "build", "x"], /required option '--name <image>'/],
  [["image", "build", "--name", "localhost/a"], /missing required argument 'image'/],
  [["image", "build", "x", "--name", "web"], /--name web/],
  [["image", "build", "x", "--name", "localhost/a", "--size", "much"], /20Gi/],
  [["image", "build", "x", "--name", "localhost/a", "--cmdline", "quiet; ls"], /command line/],
  [["image", "build", "x", "--name", "localhost/a", "--kernel", "k"], /belong together/],
  [["image", "build", "x", "--name", "localhost/a", "--snapshotter", "a b"], /Letters, digits/],
  [
    ["image", "build", "x", "--name", "localhost/a", "--progress", "loud"],
    /auto, plain, json, none/,
  ],
  [["image", "import", "ftp://x/a"], /http and https/],
  [["image", "import", "http://me:secret@x/a.qcow2"], /--auth-file/],
  [["image", "import", "http://x/---"], /--name/],
  [["image", "import", "x", "--checksum", "md5:00"], /sha256:HEX/],
  [["image", "import", "x", "--all-disks", "--disk", "a"], /cannot be used with option '--disk/],
  [["image", "import", import.meta.filename, "--all-disks"], /is no OVA: --all-disks/],
  [["image", "import", "x", "--max-size", "much"], /20Gi/],
  [["image", "import", "x", "--max-expansion", "-1"], /whole number/],
  [["image", "import", "x", "--retries", "many"], /whole number/],
  [["image", "import", "x", "--timeout", "5"], /30s/],
  [["image", "import", "x", "--stall-timeout", "0"], /More than nothing/],
  [["image", "import", "x", "--snapshotter", "a b"], /Letters, digits/],
  [["image", "import", "x", "--progress", "loud"], /auto, plain, json, none/],
  [
    ["image", "import", "http://x/a", "--proxy", "http://me:secret@x:1"],
    /no password on the command line/,
  ],
  [["image", "import", "http://x/a", "--username", "me"], /belong together/],
  [["image", "import", "http://x/a", "--password-stdin"], /belong together/],
  [["image", "import", "http://x/a", "--username", "me", "--password-stdin"], /wanted on stdin/],
  [["image", "import", "http://x/a", "--auth-file", "/nowhere/x"], /credentials file/],
  [["image", "ls", "x"], /too many arguments/],
  [["image", "ls", "-o", "xml"], /'xml' is invalid/],
  [["image", "ls", "-l", "a b"], /selector "a b"/],
  [["image", "tag", "a"], /missing required argument 'name'/],
  [["image", "tag", "a", "web"], /localhost\/appliance:1\.2/],
  [["image", "gc", "--older-than", "long"], /30s/],
  [["image", "pull"], /missing required argument 'image'/],
  [["image", "pull", "x", "--username", "me"], /belong together/],
  [["image", "push", "--to", "localhost/a"], /exactly one image/],
  [["image", "push", "a", "--to", "web"], /localhost\/appliance:1\.2/],
  [["image", "import", "x", "--name", "web"], /--name web.*localhost\/appliance:1\.2/],
  [["image", "import", "x", "--containerd", "sock"], /absolute path/],
  [["image", "import", "x", "--namespace", "a b"], /Letters, digits/],
  [["image", "import", "x", "--namespace", "--help"], /Letters, digits/],
  [["doctor", "--containerd", "sock"], /absolute path/],
  [["run", "x", "--for", "ever"], /running, exited/],
  [["run", "x", "--for", "exited", "--wait=false"], /--wait=false and --for exclude/],
  [["run", "x", "--for", "exited", "--rm"], /--for and -i, -t/],
  [["apply", "-f", "-", "--for", "ever"], /running, exited/],
  [["start", "x", "--for", "exited", "--wait=false"], /exclude each other/],
  [["restart", "x", "--for", "exited", "--wait=false"], /exclude each other/],
  [["wait"], /which pods/],
  [["wait", "x", "-l", "a=b"], /not both/],
  [["wait", "x", "--for", "ready"], /running, exited, stopped, deleted/],
  [["wait", "x", "--timeout", "5"], /30s/],
  [["wait", "x", "--progress", "loud"], /auto, plain, json, none/],
  [["rm", "x", "--yes=no"], /--yes/],
  [["config"], /view/],
  [["config", "view", "x"], /too many arguments/],
  [["config", "view", "-o", "xml"], /'xml' is invalid/],
  [["config", "view", "--columns", "none"], /no column none/],
  [["config", "path", "x"], /too many arguments/],
  [["help", "no-such"], /no help on "no-such"/],
  [["doctor", "--qemu", "qemu"], /absolute path/],
])("%j is bad usage: exit code 2, told on stderr", async (argv, says) => {
  const ran = await runWith(NOWHERE, argv);
  expect(ran).toMatchObject({ code: 2, stdout: "" });
  expect(ran.stderr).toMatch(says);
});

test("exit codes tell absent from ambiguous from unreachable", async () => {
  const pods = [samplePod("web", "aaa111"), samplePod("db", "aab222")];
  await withNodeApi(listing(...pods), async (stateDir) => {
    expect(await runWith(stateDir, ["console", "x"])).toMatchObject({
      code: 3,
      stderr: "trine: no pod x on this node; `trine ps` lists them\n",
    });
    expect(await runWith(stateDir, ["console", "aa"])).toMatchObject({ code: 5, stdout: "" });
  });
  for (const argv of [["ps"], ["inspect", "x"], ["console", "x"], ["stop", "x"], ["run", "x"]]) {
    expect(await runWith(NOWHERE, argv)).toMatchObject({ code: 7, stdout: "" });
  }
});

test("an interrupt is exit code 130", async () => {
  const abort = new AbortController();
  await withNodeApi(
    () => {
      abort.abort();
    },
    async (stateDir) => {
      const ran = await runWith(stateDir, ["console", "web"], { signal: abort.signal });
      expect(ran.code).toBe(130);
    },
  );
});

test("image import of a file that is not there is exit code 3, of one that is no disk 2", async () => {
  const missing = await runWith(NOWHERE, ["image", "import", "/nowhere/disk.qcow2"]);
  expect(missing).toMatchObject({ code: 3, stdout: "" });
  expect(missing.stderr).toMatch(/^trine: .*\/nowhere\/disk\.qcow2.*does not exist\n$/);
  const program = await runWith(NOWHERE, ["image", "import", import.meta.filename]);
  expect(program).toMatchObject({ code: 2, stdout: "" });
  expect(program.stderr.trimEnd().split("\n")).toHaveLength(1);
});

/** A console that greets and answers what it reads by `heard`. */
async function withConsole(
  body: (stateDir: string, heard: () => string) => Promise<void>,
  serve: (socket: Socket) => void = () => undefined,
): Promise<void> {
  let heard = "";
  const servers: Server[] = [];
  await withNodeApi(
    (request, response) => {
      const path = `${stateDirOf(servers)}/console.sock`;
      listing(samplePod("web", "aaa111", { consoleSocket: path }))(request, response);
    },
    async (stateDir) => {
      const server = createServer((socket) => {
        socket.write("login: ");
        socket.on("data", (chunk: Buffer) => {
          heard += chunk.toString();
          serve(socket);
        });
        socket.on("error", () => undefined);
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(join(stateDir, "console.sock"), resolve));
      try {
        await body(stateDir, () => heard);
      } finally {
        server.close();
      }
    },
  );
}

function stateDirOf(servers: readonly Server[]): string {
  const address = servers[0]?.address();
  return typeof address === "string" ? join(address, "..") : NOWHERE;
}

test("console sends piped input whole, shows output, and leaves at the input's end", async () => {
  await withConsole(async (stateDir, heard) => {
    const ran = await runWith(stateDir, ["console", "web"], { typed: "root\n\x1d!" });
    expect(ran).toEqual({ code: 0, stdout: "login: ", stderr: "" });
    expect(heard()).toBe("root\n\x1d!"); // only a terminal has an escape
  });
});

test("console --record writes what is shown into a new file, and over none", async () => {
  await withConsole(async (stateDir) => {
    const file = join(stateDir, "record");
    const argv = ["console", "web", "--record", file];
    expect(await runWith(stateDir, argv, { typed: "root\n" })).toMatchObject({ code: 0 });
    expect(await readFile(file, "utf8")).toBe("login: ");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await runWith(stateDir, argv)).toMatchObject({ code: 5, stdout: "" });
    const nowhere = [...argv.slice(0, -1), join(stateDir, "none/record")];
    expect(await runWith(stateDir, nowhere)).toMatchObject({ code: 2, stdout: "" });
  });
});

test("piped input into a console that another takes over ends with exit code 5", async () => {
  await withConsole(async (stateDir, heard) => {
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const { signal } = new AbortController();
    const io = { ...placesOf(stateDir), stdin, stdout, stderr, signal };
    const running = runTrine(["console", "web"], io);
    stdin.write("first\n");
    await expect.poll(heard).toBe("first\n");
    const argv = ["console", "--take-over", "web"];
    expect(await runWith(stateDir, argv, { typed: "second\n" })).toMatchObject({ code: 0 });
    expect(await running).toBe(5);
    expect(String(stderr.read())).toContain("not all of the input was sent");
  });
});

test("console in a terminal is raw until ^], and what follows ^] is not sent", async () => {
  await withConsole(async (stateDir, heard) => {
    const raw: boolean[] = [];
    const stdin = Object.assign(new PassThrough(), {
      isTTY: true,
      setRawMode: (on: boolean) => raw.push(on),
    });
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const signal = new AbortController().signal;
    const running = runTrine(["console", "web"], {
      ...placesOf(stateDir),
      stdin,
      stdout,
      stderr,
      signal,
    });
    await new Promise((resolve) => stdout.once("data", resolve));
    stdin.write("ls\r\x03\x1dlost");
    expect(await running).toBe(0);
    expect(raw).toEqual([true, false]);
    await expect.poll(heard).toBe("ls\r\x03");
    expect(String(stderr.read())).toContain("^] leaves");
  });
});

test("console ends when the machine does", async () => {
  await withConsole(
    async (stateDir) => {
      const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
      const io = { stdin, stdout: new PassThrough(), stderr: new PassThrough() };
      stdin.write("poweroff\r");
      const signal = new AbortController().signal;
      const argv = ["console", "--once", "web"];
      expect(await runTrine(argv, { ...placesOf(stateDir), ...io, signal })).toBe(0);
      io.stderr.end();
      expect(await text(io.stderr)).toContain("The console closed");
    },
    (socket) => socket.end(),
  );
});

test("a read-only console sends nothing and leaves at ^C", async () => {
  await withConsole(async (stateDir, heard) => {
    const abort = new AbortController();
    const stdin = new PassThrough();
    stdin.end("typed\n");
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    stdout.once("data", () => {
      abort.abort();
    });
    const io = { ...placesOf(stateDir), stdin, stdout, stderr, signal: abort.signal };
    expect(await runTrine(["console", "-r", "web"], io)).toBe(130);
    expect(heard()).toBe("");
  });
});

test("console of a machine that does not run is refused: exit code 5", async () => {
  const { machine, ...pod } = samplePod("off", "aaa111");
  const { pid, ...ended } = machine ?? {};
  expect(pid).toBe(41);
  const off = { ...pod, machine: { ...ended, state: "ended" } } as ReturnType<typeof samplePod>;
  await withNodeApi(listing(off, { ...pod, name: "none" }), async (stateDir) => {
    expect(await runWith(stateDir, ["console", "off"])).toMatchObject({ code: 5 });
    expect(await runWith(stateDir, ["console", "none"])).toMatchObject({
      code: 5,
      stderr: "trine: pod none has no machine\n",
    });
  });
});

test("help: of commands at any depth, and concepts as a person and as man reads them", async () => {
  const nested = await runWith(NOWHERE, ["help", "image", "import"]);
  expect(nested).toEqual(await runWith(NOWHERE, ["image", "import", "--help"]));
  expect(await runWith(NOWHERE, ["help"])).toEqual(await runWith(NOWHERE, ["--help"]));
  const { code, stdout, stderr } = await runWith(NOWHERE, ["help", "concepts"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  for (const title of ["Pod", "Level", "Machine", "Image", "Settings"]) {
    expect(stdout).toContain(`\n${title}\n  `.replace(/^\n(?=Pod)/, ""));
  }
  expect(stdout.split("\n").every((line) => line.length <= 80)).toBe(true);
});

test("config view in every form, and a file that is refused: all ends with it but help and config path", async () => {
  const view = await runWith(NOWHERE, ["config", "view", "-o", "json"]);
  expect(parseAs("config", view.stdout)).toHaveProperty("items.length", 8);
  const table = await runWith(NOWHERE, ["config", "view", "--show-origin"]);
  expect(table.stdout).toMatch(/^SETTING +VALUE +ORIGIN\ncontainerd +\S+ +default\n/);
  const names = await runWith(NOWHERE, ["config", "view", "-o", "name"]);
  expect(names.stdout).toMatch(/^containerd\nstate\ndata\n/);
  const path = { argv: ["-o", 'jsonpath={.items[?(@.name=="level")].value}'] };
  expect((await runWith(NOWHERE, ["config", "view", ...path.argv])).stdout).toBe("container\n");

  const refused = async (argv: readonly string[]): Promise<Ran> => {
    const io = [new PassThrough(), new PassThrough(), new PassThrough()] as const;
    const [stdin, stdout, stderr] = io;
    const { signal } = new AbortController();
    const failure = new TrineError("invalid", "configuration: wrong");
    const config = { ...defaultConfig(), file: "/etc/x.yaml", failure };
    const given = { ...placesOf(NOWHERE), stdin, stdout, stderr, signal, config };
    const code = await runTrine(argv, given);
    for (const each of [stdout, stderr]) each.end();
    return { code, stdout: await text(stdout), stderr: await text(stderr) };
  };
  const wrong = { code: 2, stdout: "", stderr: "trine: configuration: wrong\n" };
  expect(await refused(["ps"])).toEqual(wrong);
  expect(await refused(["config", "view"])).toEqual(wrong);
  expect(await refused(["config", "path"])).toMatchObject({ code: 0, stdout: "/etc/x.yaml\n" });
  for (const help of [
    ["ps", "--help"],
    ["help", "ps"],
    ["help", "concepts"],
  ]) {
    expect(await refused(help)).toMatchObject({ code: 0, stderr: "" });
  }
});

test("an error is a Status where -o json or yaml is asked for, and nothing else is on stderr", async () => {
  for (const argv of [["ps"], ["ps", "--no-such-flag"], ["inspect"], ["inspect", "x"]]) {
    const ran = await runWith(NOWHERE, [...argv, "-o", "json"]);
    expect(ran.stdout).toBe("");
    const causes = [{ reason: "ExitCode", message: String(ran.code) }];
    expect(parseAs("status", ran.stderr)).toMatchObject({ details: { causes } });
    const yaml = await runWith(NOWHERE, [...argv, "-o", "yaml"]);
    expect(yaml.stderr).toMatch(/^---\nkind: Status\n/);
  }
});

/** Every command of the program, by its words. */
async function allCommands(words: readonly string[] = []): Promise<string[][]> {
  const { stdout } = await runWith(NOWHERE, [...words, "--help"]);
  const own = [...stdout.matchAll(/^ {2}([a-z-]+)(?: \[| <| {2})/gm)].map(([, name = ""]) => name);
  const subs = /\nCommands:/.test(stdout) ? own.filter((name) => name !== "help") : [];
  const below = await Promise.all(subs.map((name) => allCommands([...words, name])));
  return [...(words.length === 0 || subs.length > 0 ? [] : [[...words]]), ...below.flat()];
}

/** Words of a command line as a shell reads them, up to what is no word of the program's. */
function shellWords(line: string): string[] {
  const [own = ""] = line.split(/ [|>] /);
  return [...own.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
}

test("every command has two examples or more, and every example is one the program takes", async () => {
  const commands = await allCommands();
  expect(commands.length).toBeGreaterThan(25);
  for (const words of commands) {
    const { stdout } = await runWith(NOWHERE, [...words, "--help"]);
    const examples = stdout.split("Examples:\n")[1]?.trim().split("\n") ?? [];
    expect(examples.length, words.join(" ")).toBeGreaterThanOrEqual(2);
    for (const example of examples) {
      const typed = /(?:^|\| |\()trine (.*?)\)?$/.exec(example.trim())?.[1] ?? "";
      const argv = shellWords(typed);
      expect(argv.slice(0, words.length), example).toEqual(words);
      // Before what follows --, which is another program's.
      const end = argv.indexOf("--");
      const own = end < 0 ? argv : argv.slice(0, end);
      const ran = await runWith(NOWHERE, [...own, "--help"]);
      expect(ran, example).toMatchObject({ code: 0, stderr: "" });
      const flags = own.filter((word) => /^-(-[a-z]|[a-z]$)/.test(word));
      for (const flag of flags) expect(stdout, example).toContain(flag.replace(/=.*/, ""));
    }
  }
});

test("an unknown flag, and a flag without its value, are refused by every command in one line", async () => {
  for (const words of await allCommands()) {
    const unknown = await runWith(NOWHERE, [...words, "--no-such-flag"]);
    expect(unknown, words.join(" ")).toMatchObject({ code: 2, stdout: "" });
    expect(unknown.stderr).toMatch(/^trine: (unknown|required) option '-/);
    const { stdout } = await runWith(NOWHERE, [...words, "--help"]);
    for (const [, flag = ""] of stdout.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+) </gm)) {
      const ran = await runWith(NOWHERE, [...words, flag]);
      expect(ran, `${words.join(" ")} ${flag}`).toMatchObject({ code: 2, stdout: "" });
      expect(ran.stderr).toMatch(new RegExp(`^trine: option '.*${flag} .*' argument missing`));
    }
  }
});

test("man pages are made of the same table: one a command, and man has nothing to say of them", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-man-"));
  expect(await runWith(NOWHERE, ["__man", dir])).toEqual({ code: 0, stdout: "", stderr: "" });
  const pages = await readdir(dir);
  for (const words of await allCommands()) expect(pages).toContain(`trine-${words.join("-")}.1`);
  for (const page of pages) {
    const env = { ...process.env, MANWIDTH: "80", MAN_KEEP_STDERR: "1", LC_ALL: "C.UTF-8" };
    const shown = spawnSync("man", ["--warnings", "-l", join(dir, page)], {
      env,
      encoding: "utf8",
    });
    expect({ page, status: shown.status, stderr: shown.stderr }).toEqual({
      page,
      status: 0,
      stderr: "",
    });
    expect(shown.stdout).toContain("EXIT STATUS");
  }
  await rm(dir, { recursive: true });
}, 120_000);
