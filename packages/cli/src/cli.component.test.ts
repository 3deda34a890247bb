// The built program on a real node, as a person at its shell uses it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { execFile, spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { pollUntil } from "@trine/base";
import { HOSTILE_IMAGES } from "@trine/disk-images/testing";
import { DIST, TrineNode, runCommand, tinyGuestDisk, tinyGuestImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Ran } from "./testing.ts";
import { parseAs } from "./testing/schema.ts";

const BOOT_MS = 90_000;
const READY = /TINY-GUEST READY ip=(\S+)/;
const MIB = 1024 * 1024;
const MEMORY = { "trine.dev/memory": "128Mi" };

interface Finding {
  name: string;
  status: string;
  detail: string;
  fix?: string;
}

describe.each(["1.6", "2.4"] as const)("trine on a node with containerd %s", (version) => {
  let node: TrineNode;
  let dir: string;

  beforeAll(async () => {
    const image = await tinyGuestImage();
    dir = await mkdtemp(join(tmpdir(), "trine-cli-"));
    node = await TrineNode.start({ version });
    await node.containerd.importImage(image);
  }, 1_800_000);

  afterAll(async () => {
    expect(await node.stop()).toEqual([]);
    await rm(dir, { recursive: true });
  });

  function environment(): NodeJS.ProcessEnv {
    const path = [join(DIST, "bin"), process.env["PATH"] ?? ""].join(delimiter);
    return { ...process.env, PATH: path, ...places() };
  }

  function places(): Record<string, string> {
    return {
      TRINE_STATE: node.stateDir,
      TRINE_DATA: join(dir, "data"),
      TRINE_CONTAINERD: node.containerd.socket,
    };
  }

  function trine(...argv: string[]): Promise<Ran> {
    const args = [join(DIST, "trine.mjs"), ...argv];
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        args,
        { env: environment() },
        (_, stdout, stderr) => {
          resolve({ code: child.exitCode ?? -1, stdout, stderr });
        },
      );
      child.stdin?.end();
    });
  }

  async function machine(name: string, image = "trine.test/tiny-guest:1"): Promise<RunningPod> {
    const pod = await node.run({ name, image, annotations: MEMORY, tty: true, stdin: true });
    await node.untilOutput(pod, READY, BOOT_MS);
    return pod;
  }

  const images = async (): Promise<string[]> =>
    (await node.containerd.ctr("images", "ls", "-q")).trim().split("\n");
  const blobs = (): Promise<string> => node.containerd.ctr("content", "ls", "-q");

  test("ps and inspect tell of a running machine what is so", async () => {
    expect((await trine("ps")).stdout.split("\n")).toHaveLength(2);
    const pod = await machine("web");
    const { stdout } = await trine("ps", "-o", "wide");
    const row = stdout.split("\n")[1]?.split(/ {2,}/) ?? [];
    expect(row.slice(0, 6)).toEqual(["default", "web", "vm", "1/1", "Running", "0"]);
    expect([row[7], row[9], row[10]]).toEqual([pod.ip, "1", "128Mi"]);
    const pid = row[11] ?? "";
    const vmm = await runCommand("cat", [`/proc/${pid}/cmdline`]);
    expect(vmm).toContain("qemu-system");
    for (const name of ["web", "default/web", pod.podSandboxId.slice(0, 12), pod.containerId]) {
      const { stdout: text, code } = await trine("inspect", name);
      expect(code).toBe(0);
      expect(parseAs("inspect", text)).toMatchObject({
        sandboxId: pod.podSandboxId,
        addresses: [pod.ip],
      });
    }
    expect(await trine("inspect", "other")).toMatchObject({ code: 3, stdout: "" });
    const archive = join(dir, "diag.tar.gz");
    expect(await trine("diag", "web", "--file", archive)).toMatchObject({ code: 0 });
    const report = "trine-diag/pods/default_web/machine-report.json";
    const asked = JSON.parse(await runCommand("tar", ["-xzOf", archive, report])) as object;
    expect(asked).toMatchObject({
      answers: {
        "query-status": { running: true },
        "query-block": expect.arrayContaining([]) as object,
        "query-cpus-fast": [{ target: "x86_64" }],
        "query-memory-size-summary": { "base-memory": 128 * MIB },
      },
      failures: {},
    });
    // A daemon stopped in order leaves its machines alone, and the next one has them again.
    await node.killTrined("SIGTERM");
    expect(await runCommand("cat", [`/proc/${pid}/cmdline`])).toBe(vmm);
    expect((await trine("ps", "-o", "wide")).stderr).toContain("nothing is known of machines");
    await node.startTrined();
    expect((await trine("ps", "-o", "wide")).stdout).toMatch(new RegExp(` 128Mi +${pid} `));
    await node.remove(pod);
    await expect.poll(async () => (await trine("ps")).stdout.split("\n").length).toBe(2);
  });

  test("doctor finds nothing that fails, and tells of a stopped daemon", async () => {
    const flags = ["--containerd", node.containerd.socket, "-o", "json"];
    const { code, stdout } = await trine("doctor", ...flags);
    const { items } = parseAs("doctor", stdout) as { items: Finding[] };
    expect(items.filter(({ status }) => status === "fail")).toEqual([]);
    expect(code).toBe(0);
    const byName = new Map(items.map((item) => [item.name, item]));
    expect(byName.get("containerd")).toMatchObject({ status: "ok" });
    expect(byName.get("shim")?.detail).toContain(join(DIST, "bin"));
    expect(byName.get("handlers")).toMatchObject({ status: "ok" });
    await node.killTrined("SIGTERM");
    const down = await trine("doctor", "--containerd", node.containerd.socket);
    expect(down.code).toBe(1);
    expect(down.stdout).toMatch(/^FAIL trined: .*\n {7}fix: systemctl start trined/m);
    await node.startTrined();
  });

  test("image import makes disks of any form images that run at once", async () => {
    const raw = join(dir, "Tiny Guest.raw");
    await runCommand("qemu-img", ["convert", "-O", "raw", await tinyGuestDisk(), raw]);
    const containerd = ["--containerd", node.containerd.socket];
    const first = await trine("image", "import", raw, ...containerd);
    expect(first).toMatchObject({ code: 0, stdout: "localhost/tiny-guest:latest\n" });
    const name = ["--name", "localhost/team/tiny:q"];
    const second = await trine("image", "import", await tinyGuestDisk(), ...name, ...containerd);
    expect(second).toMatchObject({ code: 0, stdout: "localhost/team/tiny:q\n" });
    const vmdk = join(dir, "appliance.vmdk");
    const stream = ["-O", "vmdk", "-o", "subformat=streamOptimized"];
    await runCommand("qemu-img", ["convert", ...stream, await tinyGuestDisk(), vmdk]);
    await runCommand("gzip", [vmdk]);
    const third = await trine("image", "import", `${vmdk}.gz`, ...containerd);
    expect(third).toMatchObject({ code: 0, stdout: "localhost/appliance:latest\n" });
    for (const [pod, image] of [
      ["raw", "localhost/tiny-guest:latest"],
      ["qcow2", "localhost/team/tiny:q"],
      ["vmdk", "localhost/appliance:latest"],
    ] as const) {
      await node.remove(await machine(pod, image));
    }
  });

  test("hostile images are refused in one line and leave nothing in containerd", async () => {
    const before = [await images(), await blobs()];
    // What is packed or of a foreign form is opened: packages/image-import has those.
    const refused = HOSTILE_IMAGES.filter(
      ({ name }) => !/foreign: (VMDK|VHD|fixed|gzip|xz|zstd|zip)/.test(name),
    );
    for (const { name, bytes, says } of refused) {
      const file = join(dir, "hostile.img");
      await writeFile(file, bytes());
      const ran = await trine("image", "import", file, "--containerd", node.containerd.socket);
      expect({ name, ...ran }).toMatchObject({ name, code: 2, stdout: "" });
      expect(ran.stderr).toMatch(/^trine: [^\n]*\n$/);
      expect(ran.stderr).toMatch(says);
    }
    expect([await images(), await blobs()]).toEqual(before);
  });

  test("an import that containerd does not take ends in one line, with nothing left", async () => {
    const file = join(dir, "blank.raw");
    const bootable = Buffer.alloc(8 * MIB);
    bootable.writeUInt16LE(0xaa55, 510);
    await writeFile(file, bootable);
    const ran = await trine("image", "import", file, "--containerd", join(dir, "none.sock"));
    expect(ran).toMatchObject({ code: 7, stdout: "" });
    expect(ran.stderr).toMatch(/^trine: [^\n]*none\.sock[^\n]*\n$/);
  });

  test("console: attach in a terminal, type, leave by ^]; piped input; refusals", async () => {
    const pod = await machine("console");
    const terminal = await Terminal.open(join(dir, "tmux"), environment());
    try {
      await terminal.type(
        `${process.execPath} ${join(DIST, "trine.mjs")} console console`,
        "Enter",
      );
      await terminal.until(/\^\] leaves/);
      await terminal.type("echo typed-$((40+2))", "Enter");
      await terminal.until(/typed-42/);
      await terminal.type("", "C-c"); // goes to the guest
      await terminal.type("echo again-$((40+3))", "Enter");
      await terminal.until(/again-43/);
      await terminal.type("", "C-]");
      await terminal.until(/Left\./);
      await terminal.type("echo shell-$((40+4)) $?", "Enter");
      await terminal.until(/shell-44 0/); // its terminal is as before
    } finally {
      await terminal.close();
    }
    const args = [join(DIST, "trine.mjs"), "console", "console"];
    const piped = spawn(process.execPath, args, { env: environment(), stdio: "pipe" });
    piped.stdout.resume();
    piped.stdin.end("echo piped-$((40+5))\n");
    expect(await new Promise((resolve) => piped.on("close", resolve))).toBe(0);
    await node.untilOutput(pod, "piped-45");
    expect(await trine("console", "nobody")).toMatchObject({ code: 3 });
    await node.remove(pod);
  });
});

/** A person's terminal: tmux on a socket of its own. */
class Terminal {
  readonly #socket: string;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  static async open(socket: string, env: NodeJS.ProcessEnv): Promise<Terminal> {
    const state = `TRINE_STATE=${env["TRINE_STATE"] ?? ""}`;
    const shell = ["env", state, "PS1=$ ", "sh"];
    await runCommand("tmux", [
      "-S",
      socket,
      "new-session",
      "-d",
      "-x",
      "200",
      "-y",
      "50",
      ...shell,
    ]);
    return new Terminal(socket);
  }

  async type(text: string, key: string): Promise<void> {
    if (text !== "") await runCommand("tmux", ["-S", this.#socket, "send-keys", "-l", text]);
    await runCommand("tmux", ["-S", this.#socket, "send-keys", key]);
  }

  /** Waits until the screen shows this. */
  async until(wanted: RegExp): Promise<void> {
    await pollUntil(`the terminal shows ${String(wanted)}`, { ms: 60_000 }, async () => {
      const screen = await runCommand("tmux", ["-S", this.#socket, "capture-pane", "-p"]);
      return wanted.test(screen) ? true : undefined;
    });
  }

  async close(): Promise<void> {
    await runCommand("tmux", ["-S", this.#socket, "kill-server"]);
  }
}
