// A machine of level vm under kubelet whose seed has started our agent in a whole Debian: what kubectl can do to a container it can do to
// the machine. Its boot takes minutes under software emulation.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { debianGuestImage } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type KubeUnderTest, LONG_MS } from "./kubelet-pods.ts";
import { forwarded, hostname } from "./kubelet-streams.ts";
import { makeSshKey, sshLogin } from "./ssh-login.ts";

/** A whole Debian under software emulation, on a machine that has other work. */
const DEBIAN_MS = 900_000;
const NAME = "debian";
const READY = "DEBIAN-GUEST READY";

const machine = (image: string, key: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: NAME,
    annotations: { "trine.dev/agent": "on", "trine.dev/ssh-keys": key },
  },
  spec: {
    runtimeClassName: "trine-vm",
    terminationGracePeriodSeconds: 5,
    automountServiceAccountToken: false,
    containers: [
      {
        name: NAME,
        image,
        imagePullPolicy: "Never",
        // A containerDisk has no program; containerd wants a word.
        command: ["machine"],
        ...{ tty: true, stdin: true },
        resources: { limits: { memory: "768Mi" } },
      },
    ],
  },
});

/** Of the pod's one container. */
const sh = (kube: KubeUnderTest, script: string): Promise<string> => kube.sh(NAME, NAME, script);

/** A terminal is what only our agent gives. */
function untilAgent(kube: KubeUnderTest): Promise<string> {
  return pollUntil("our agent answers", { ms: DEBIAN_MS, everyMs: 2_000 }, () =>
    kube.terminal(NAME, NAME, "tty").catch(() => undefined),
  );
}

export function agentTests(kube: () => KubeUnderTest): void {
  let key: string;

  beforeAll(async () => {
    const image = await debianGuestImage();
    const { node } = kube().cluster;
    await node.containerd.importImage(image);
    key = join(node.dir, "debian-key");
    await makeSshKey(key, "me@desk");
    await kube().kubectl.apply(machine(image.name, await readFile(`${key}.pub`, "utf8")));
    await kube().ready(NAME);
    await pollUntil("its console is in the log", { ms: DEBIAN_MS, everyMs: 2_000 }, async () =>
      (await kube().kubectl.run("logs", NAME)).includes(READY) ? true : undefined,
    );
    await untilAgent(kube());
  }, 2 * DEBIAN_MS);

  afterAll(async () => {
    await kube().remove(NAME);
  }, LONG_MS);

  test(
    "exec -it gives a terminal of the machine itself, with its size and the command's status",
    async () => {
      const look = "tty; id -u; cat /proc/1/comm; test -t 0 && test -t 1 && echo it is; exit 7";
      // `script -e` ends as the command did.
      await expect(kube().terminal(NAME, NAME, look)).rejects.toThrow(/ended with 7/);
      const said = await kube().terminal(NAME, NAME, look.replace("exit 7", "true"));
      expect(said).toMatch(/\/dev\/pts\/\d+\r\n0\r\nsystemd\r\nit is\r\n/);
      // A person's shell: what is typed is echoed and answered.
      const words = kube().kubectl.command("exec", "-it", NAME, "--", "bash", "--norc", "-i");
      const shell = spawn(
        "script",
        ["-qefc", `stty rows 33 cols 99; exec ${words.join(" ")}`, "/dev/null"],
        {
          stdio: "pipe",
        },
      );
      try {
        let screen = "";
        shell.stdout.on("data", (chunk: Buffer) => (screen += chunk.toString()));
        shell.stdin.on("error", () => undefined); // told by what is not said
        await pollUntil("the shell answers", { ms: LONG_MS, everyMs: 2_000 }, () => {
          shell.stdin.write("echo it-$((40+2)); stty size\r");
          return /it-42\r\n33 99\r\n/.test(screen) ? true : undefined;
        });
      } finally {
        shell.kill();
      }
    },
    LONG_MS,
  );

  test(
    "exec -i carries bytes both ways, tells both outputs apart, and gives the program's status",
    async () => {
      const input = randomBytes(1 << 20).toString("base64");
      const sum = createHash("sha256").update(input).digest("hex");
      const words = ["exec", "-i", NAME, "--"];
      expect(await kube().kubectl.runWith(input, ...words, "sha256sum")).toContain(sum);
      expect(await kube().kubectl.runWith(input, ...words, "cat")).toBe(input);
      const failed = sh(kube(), "echo out; echo err >&2; exit 7");
      await expect(failed).rejects.toThrow(/ended with 7: err/);
    },
    LONG_MS,
  );

  test(
    "cp copies trees in and out",
    async () => {
      const dir = join(kube().cluster.node.dir, "cp-debian");
      const bytes = randomBytes(300_000);
      await mkdir(join(dir, "in/sub"), { recursive: true });
      await writeFile(join(dir, "in/sub/f"), bytes);
      await kube().kubectl.run("cp", join(dir, "in"), `${NAME}:/root/in`);
      const sum = createHash("sha256").update(bytes).digest("hex");
      expect(await sh(kube(), "sha256sum /root/in/sub/f; stat -c %U /root/in/sub/f")).toBe(
        `${sum}  /root/in/sub/f\nroot\n`,
      );
      await kube().kubectl.run("cp", `${NAME}:root/in`, join(dir, "out"));
      expect((await readFile(join(dir, "out/sub/f"))).equals(bytes)).toBe(true);
    },
    LONG_MS,
  );

  test(
    "attach is the machine's console",
    async () => {
      const line = kube().kubectl.command("attach", "-q", "-it", NAME).join(" ");
      const attached = spawn("script", ["-qefc", line, "/dev/null"], { stdio: "pipe" });
      try {
        let said = "";
        attached.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
        attached.stdin.on("error", () => undefined); // told by what is not said
        await pollUntil("the console asks for a login", { ms: LONG_MS, everyMs: 2_000 }, () => {
          attached.stdin.write("\r");
          return said.includes("login:") ? true : undefined;
        });
      } finally {
        attached.kill();
      }
    },
    LONG_MS,
  );

  test(
    "port-forward reaches a server of the guest's loopback",
    async () => {
      await sh(
        kube(),
        "mkdir /root/web; hostname >/root/web/hostname; systemd-run --quiet python3 -m http.server --bind 127.0.0.1 --directory /root/web 8081",
      );
      // kubectl ends at the first connection that is refused.
      const look = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/8081' && echo it listens; true";
      await kube().untilSh(NAME, NAME, look, "it listens");
      const forward = kube().kubectl.start("port-forward", NAME, ":8081");
      try {
        expect(await hostname("127.0.0.1", await forwarded(forward.stdout))).toBe(`${NAME}\n`);
      } finally {
        forward.kill();
      }
    },
    LONG_MS,
  );

  test(
    "the manifest's SSH key logs in at the pod's address, another does not",
    async () => {
      const { podIP = "" } = (await kube().pod(NAME)).status;
      expect(await sshLogin(podIP, key, "sudo id -u; hostname")).toBe(`0\n${NAME}\n`);
      const other = `${key}-other`;
      await makeSshKey(other, "nobody@nowhere");
      await expect(sshLogin(podIP, other, "true")).rejects.toThrow(/Permission denied/);
    },
    LONG_MS,
  );
}
