// `make demo`: an ordinary container and a whole machine as pods of one containerd, talking to each other.
// Every step checks what it claims; the first that fails ends the demo with exit code 1.
// DEMO_IMAGE=FILE|URL takes another cloud image (QCOW2 or raw) instead of the Debian guest built here.
import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { withDeadline } from "@trine/base";
import type { RunningPod, TestImage } from "@trine/testkit";
import {
  DIST,
  TrineNode,
  busyboxImage,
  containerDisk,
  debianGuestImage,
  runCommand,
} from "@trine/testkit";

const BOOT_MS = 300_000;
const PAGE = "hello from an ordinary container";

const began = performance.now();
const timings: [string, number][] = [];

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  process.stdout.write(`\n== ${what}\n`);
  const result = await work();
  const seconds = (performance.now() - started) / 1000;
  timings.push([what, seconds]);
  return result;
}

function say(text: string): void {
  for (const line of text.trimEnd().split("\n")) process.stdout.write(`   ${line}\n`);
}

function check(condition: boolean, claim: string): void {
  if (!condition) throw new Error(`the demo's claim does not hold: ${claim}`);
  say(`ok: ${claim}`);
}

/** The image of the machine: built here, or the file or URL the user named. */
async function machineImage(dir: string): Promise<TestImage> {
  const named = process.env["DEMO_IMAGE"];
  if (named === undefined) return debianGuestImage();
  if (!/^https?:/.test(named)) return containerDisk("demo", named);
  const file = join(dir, "demo.img");
  const answer = await fetch(named);
  if (!answer.ok || answer.body === null) throw new Error(`${named}: HTTP ${answer.status}`);
  await pipeline(Readable.fromWeb(answer.body), createWriteStream(file));
  return containerDisk("demo", file);
}

function userData(web: RunningPod): string {
  return [
    "#cloud-config",
    "runcmd:",
    "  - - bash",
    "    - -c",
    "    - |",
    `      exec 3<>/dev/tcp/${web.ip}/8080`,
    "      printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3",
    '      echo "DEMO-FETCHED $(tail -n 1 <&3)" >/dev/console',
    "",
  ].join("\n");
}

async function execIn(node: TrineNode, pod: RunningPod, ...cmd: string[]): Promise<string> {
  const { runtime } = node.containerd.cri;
  const answer = await runtime.execSync({ containerId: pod.containerId, cmd, timeout: 60n });
  if (answer.exitCode !== 0) {
    throw new Error(
      `${cmd.join(" ")}: exit ${answer.exitCode}: ${Buffer.from(answer.stderr).toString()}`,
    );
  }
  return Buffer.from(answer.stdout).toString();
}

async function demo(node: TrineNode, dir: string): Promise<void> {
  const [busybox, disk] = await step("images", async () => {
    const images = [await busyboxImage(), await machineImage(dir)] as const;
    for (const image of images) await node.containerd.importImage(image);
    say(`${images[0].name} for the container, ${images[1].name} for the machine`);
    return images;
  });

  const web = await step("an ordinary container: a web server under runc", async () => {
    const serve = `mkdir /www; echo '${PAGE}' >/www/index.html; exec httpd -f -p 8080 -h /www`;
    const command = ["sh", "-c", serve];
    const pod = await node.run({ name: "web", image: busybox.name, handler: "", command });
    say(`pod web has ${pod.ip}`);
    return pod;
  });

  const machine = await step(
    "a machine from a QCOW2, whose cloud-init fetches that page",
    async () => {
      const pod = await node.run({
        name: "machine",
        image: disk.name,
        annotations: {
          "trine.dev/memory": "512Mi",
          "trine.dev/user-data": userData(web),
        },
      });
      say(`pod machine has ${pod.ip}; its console is the container's log`);
      const output = await node.untilOutput(pod, /DEMO-FETCHED .*/, BOOT_MS);
      say(output.split("\n").slice(-6).join("\n"));
      check(
        output.includes(`DEMO-FETCHED ${PAGE}`),
        "the machine fetched the page over the pod network",
      );
      return pod;
    },
  );

  await step("exec, as kubectl exec does it", async () => {
    const release = await execIn(
      node,
      machine,
      "/bin/sh",
      "-c",
      "uname -sr; hostname; cat /etc/os-release",
    );
    say(release.split("\n").slice(0, 3).join("\n"));
    check(release.includes("machine"), "the guest has the pod's name");
    const page = await execIn(node, web, "wget", "-qO-", `http://${web.ip}:8080/`);
    check(page.includes(PAGE), "exec in the container works the same");
  });

  await step("port-forward to the machine's ssh server", async () => {
    const forward = await node.containerd.cri.portForward(machine.podSandboxId);
    const connection = forward.connect(22);
    const banner = new Promise<string>((resolve, reject) => {
      connection.once("data", (chunk: Buffer) => {
        resolve(chunk.toString().trim());
      });
      connection.once("error", reject);
    });
    const text = await withDeadline("the ssh server's banner", 30_000, banner);
    forward.close();
    check(text.startsWith("SSH-2.0"), `ssh answers through port-forward: ${text}`);
  });

  await step("stats", async () => {
    const { runtime } = node.containerd.cri;
    const { stats } = await runtime.containerStats({ containerId: machine.containerId });
    const mib = Number(stats?.memory?.workingSetBytes?.value ?? 0n) / 1024 ** 2;
    const cpu = Number(stats?.cpu?.usageCoreNanoSeconds?.value ?? 0n) / 1e9;
    say(`guest memory in use ${mib.toFixed(0)} MiB, vCPU time ${cpu.toFixed(1)} s`);
    check(mib > 10 && cpu > 1, "the figures are the guest's");
  });

  await step("kill -9 of trined, and its return", async () => {
    const before = await ps(node);
    await node.killTrined("SIGKILL");
    await node.startTrined();
    const after = await ps(node);
    say(after.trimEnd());
    check(ageless(before) === ageless(after), "the machine runs on, same process");
    const uptime = await execIn(node, machine, "/bin/cat", "/proc/uptime");
    check(Number(uptime.split(" ")[0]) > 5, "and answers exec");
  });

  await step("stop: the power button, then the exit status", async () => {
    const { runtime } = node.containerd.cri;
    const { containerId } = machine;
    await runtime.stopContainer({ containerId, timeout: 120n }, { timeoutMs: 180_000 });
    const { status } = await runtime.containerStatus({ containerId });
    check(
      status?.exitCode === 0,
      `the guest shut down by itself: ${status?.reason ?? "?"}, exit ${status?.exitCode ?? "?"}`,
    );
    await node.remove(machine);
    await node.remove(web);
  });
}

function ps(node: TrineNode): Promise<string> {
  return runCommand("env", [
    `TRINE_STATE=${node.stateDir}`,
    `TRINE_CONTAINERD=${node.containerd.socket}`,
    process.execPath,
    join(DIST, "trine.mjs"),
    ...["ps", "-o", "wide"],
  ]);
}

/** The column AGE goes on. */
function ageless(text: string): string {
  return text.replaceAll(/ \d+[smhd] +/g, " ");
}

const dir = await mkdtemp(join(tmpdir(), "trine-demo-"));
const node = await step("a private containerd and trined", async () => {
  const started = await TrineNode.start({ version: "1.6" });
  say(`containerd ${started.containerd.socket}, trined's state in ${started.stateDir}`);
  return started;
});
try {
  await demo(node, dir);
} catch (cause) {
  process.exitCode = 1;
  console.error(cause);
  console.error(await node.trinedLog());
} finally {
  await step("clean up", async () => {
    const problems = await node.stop();
    await rm(dir, { recursive: true, force: true });
    for (const line of problems) say(`left: ${line}`);
    if (problems.length > 0) process.exitCode = 1;
    else say("ok: nothing is left");
  });
}
console.log("\nseconds:");
for (const [what, seconds] of timings) console.log(`${seconds.toFixed(1).padStart(8)}  ${what}`);
console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(8)}  in all`);
console.log(
  process.exitCode === undefined ? "\ndemo: all steps did what they claim" : "\ndemo: FAILED",
);
