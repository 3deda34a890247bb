import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pollUntil, withDeadline } from "@trine/base";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Containerd,
  type LeakCheck,
  type TestImage,
  busyboxImage,
  findProcesses,
  leakCheck,
  runCommand,
  startContainerd,
} from "./index.ts";

const VERSIONS = ["1.6", "2.4"] as const;

/** Reads until the text holds `wanted`; answers all that was read. */
async function readUntil(stream: Readable, wanted: string): Promise<string> {
  let seen = "";
  const found = (async () => {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      seen += String(chunk);
      if (seen.includes(wanted)) return seen;
    }
    throw new Error(`stream ended before ${wanted}: ${seen}`);
  })();
  return withDeadline(`read ${wanted}`, 20_000, found);
}

describe.each(VERSIONS)("a private containerd %s", (version) => {
  let dir: string;
  let containerd: Containerd;
  let leaks: LeakCheck;
  let image: TestImage;

  beforeAll(async () => {
    dir = (await runCommand("mktemp", ["-d", "/tmp/trine-t-XXXXXX"])).trim();
    leaks = await leakCheck({ markers: [basename(dir)] });
    image = await busyboxImage();
    containerd = await startContainerd({ version, dir: join(dir, "c") });
    await containerd.importImage(image);
  }, 1_800_000);

  afterAll(async () => {
    await containerd.stop();
    expect(await leaks.leaks()).toEqual([]);
    await runCommand("rm", ["-rf", dir]);
  });

  interface Running {
    podSandboxId: string;
    containerId: string;
    log: string;
  }

  async function runContainer(
    name: string,
    command: string[],
    options: { stdin?: boolean; tty?: boolean } = {},
  ): Promise<Running> {
    const { runtime } = containerd.cri;
    const config = containerd.podConfig({ name });
    await mkdir(config.logDirectory, { recursive: true });
    const { podSandboxId } = await runtime.runPodSandbox({ config });
    const { containerId } = await runtime.createContainer({
      podSandboxId,
      sandboxConfig: config,
      config: {
        metadata: { name: "main", attempt: 0 },
        image: { image: image.name },
        command,
        logPath: "main.log",
        ...options,
      },
    });
    await runtime.startContainer({ containerId });
    return { podSandboxId, containerId, log: join(config.logDirectory, "main.log") };
  }

  async function removePod({ podSandboxId }: Running): Promise<void> {
    await containerd.cri.runtime.stopPodSandbox({ podSandboxId });
    await containerd.cri.runtime.removePodSandbox({ podSandboxId });
  }

  const SERVE = [
    "sh",
    "-c",
    "mkdir /www; echo hello >/www/index.html; echo up; exec httpd -f -p 8080 -h /www",
  ];

  test("runs a pod on its own bridge, with logs, exec and an exit status", async () => {
    const { runtime } = containerd.cri;
    const pod = await runContainer("first", SERVE);
    const { podSandboxId, containerId } = pod;
    const { status } = await runtime.podSandboxStatus({ podSandboxId });
    expect(status?.network?.ip).toMatch(containerd.bridge.subnet.replace(/0\/24$/, ""));
    await pollUntil("the log has the line", { ms: 20_000 }, async () =>
      (await readFile(pod.log, "utf8")).includes("stdout F up") ? true : undefined,
    );
    const exec = await runtime.execSync({ containerId, cmd: ["sh", "-c", "echo out; exit 3"] });
    expect(exec.exitCode).toBe(3);
    expect(Buffer.from(exec.stdout).toString()).toBe("out\n");
    await runtime.stopContainer({ containerId, timeout: 0n });
    const ended = await runtime.containerStatus({ containerId });
    expect(ended.status?.exitCode).toBe(137);
    await removePod(pod);
  });

  test("streams exec: input, both outputs, the exit status, a terminal's size", async () => {
    const pod = await runContainer("streams", ["sleep", "1000"]);
    const { containerId } = pod;
    const cmd = ["sh", "-c", "cat; echo done >&2; exit 7"];
    const plain = await containerd.cri.exec({
      containerId,
      cmd,
      stdin: true,
      stdout: true,
      stderr: true,
    });
    const big = "0123456789abcdef".repeat(64 * 1024);
    plain.stdin?.end(big);
    const [output, errors] = await Promise.all([
      text(plain.stdout as Readable),
      text(plain.stderr as Readable),
    ]);
    expect(output.length).toBe(big.length);
    expect(output).toBe(big);
    expect(errors).toBe("done\n");
    expect(await plain.exit).toBe(7);
    plain.close();

    const shell = await containerd.cri.exec({
      ...{ containerId, cmd: ["sh"], tty: true, stdin: true, stdout: true },
    });
    shell.resize({ width: 101, height: 37 });
    let transcript = "";
    shell.stdout?.on("data", (chunk: Buffer) => (transcript += chunk.toString()));
    // The size arrives on a channel of its own, maybe after the first question.
    await pollUntil("the terminal has the size", { ms: 20_000, everyMs: 200 }, () => {
      if (transcript.includes("37 101")) return true;
      shell.stdin?.write("stty size\n");
      return undefined;
    });
    shell.stdin?.write("exit 5\n");
    expect(await shell.exit).toBe(5);
    shell.close();
    await removePod(pod);
  });

  test("attaches to a running container and sees its end", async () => {
    const pod = await runContainer("attach", ["sh"], { stdin: true, tty: true });
    const { containerId } = pod;
    const session = await containerd.cri.attach({
      containerId,
      tty: true,
      stdin: true,
      stdout: true,
    });
    session.stdin?.write("echo $((40+2))\n");
    await readUntil(session.stdout as Readable, "\n42\r\n");
    session.stdin?.write("exit 0\n");
    session.stdout?.resume();
    expect(await session.exit).toBe(0);
    await removePod(pod);
  });

  test("forwards ports, several at once, and says when nothing listens", async () => {
    const pod = await runContainer("forward", SERVE);
    const { containerId } = pod;
    const forward = await containerd.cri.portForward(pod.podSandboxId);
    await pollUntil("the server answers", { ms: 20_000 }, async () => {
      const probe = await containerd.cri.runtime.execSync({
        ...{ containerId, cmd: ["wget", "-qO-", "http://127.0.0.1:8080/"] },
      });
      return probe.exitCode === 0 ? true : undefined;
    });
    const answers = [1, 2, 3].map(async () => {
      const connection = forward.connect(8080);
      connection.end("GET / HTTP/1.0\r\n\r\n");
      return text(connection);
    });
    for (const answer of await Promise.all(answers)) expect(answer).toContain("hello");
    const refused = containerd.cri.portForward(pod.podSandboxId).then(async (other) => {
      const connection = other.connect(9);
      const [error] = (await once(connection, "error")) as [Error];
      other.close();
      return error.message;
    });
    expect(await withDeadline("port 9 is refused", 20_000, refused)).toMatch(/refused|closed/);
    forward.close();
    await removePod(pod);
  });

  test("keeps pods over a crash of the daemon and over a restart", async () => {
    const pod = await runContainer("survivor", ["sleep", "1000"]);
    await containerd.kill9();
    await containerd.start();
    await containerd.restart();
    const { status } = await containerd.cri.runtime.containerStatus({
      containerId: pod.containerId,
    });
    expect(status?.state).toBe(1);
    await removePod(pod);
  });

  test("maps errors to kinds", async () => {
    const { runtime, images } = containerd.cri;
    await expect(runtime.podSandboxStatus({ podSandboxId: "nope" })).rejects.toMatchObject({
      kind: "notFound",
    });
    await expect(
      images.pullImage({ image: { image: "127.0.0.1:1/none:1" } }, { timeoutMs: 20_000 }),
    ).rejects.toThrow(/PullImage: /);
    const stopped = new AbortController();
    stopped.abort();
    await expect(runtime.version({}, { signal: stopped.signal })).rejects.toMatchObject({
      kind: "canceled",
    });
  });

  test("stop takes along a pod that is still there", async () => {
    await runContainer("left", ["sleep", "1000"]);
    expect((await findProcesses(containerd.cgroupParent)).length).toBeGreaterThan(0);
  });
});
