// The daemons die under one pod that has everything at once: disks of both kinds, directories, a TPM, a container beside the
// machine, our agent with a session, the console and a port-forward. All of it goes on, nothing is there twice.
import { mkdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex, Readable, Writable } from "node:stream";
import { pollUntil } from "@trine/base";
import { DIST, busyboxImage } from "@trine/testkit";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { execIn } from "./exec-in.ts";
import { LoopDevice } from "./loop-device.ts";
import { PodOfMany } from "./mixed-pod.ts";
import { BOOT_MS, NodeUnderTest, READY, statusField } from "./node-under-test.ts";

const MIB = 1024 * 1024;
const STEP_MS = 60_000;
const ANNOTATIONS = {
  "trine.dev/memory": "192Mi",
  "trine.dev/agent": "on",
  "trine.dev/tpm": "on",
  "trine.dev/machine": "machine",
  "trine.dev/ports": "web=9090",
  "trine.dev/disks": "- {name: data, device: /dev/data}\n- {name: file, file: /vol, size: 8Mi}",
};
/** What a system with udev has done before cloud-init runs the seed's own script. */
const BOOTHOOK = [
  "ip link set lo up; mkdir -p /seed /dev/disk/by-label; mount -t cgroup2 cgroup2 /sys/fs/cgroup",
  "seed=$(ls /dev/vd? | tail -n 1); ln -s $seed /dev/disk/by-label/cidata",
  "mount -t iso9660 -o ro $seed /seed && sh /seed/vendor-data; umount /seed; dmesg | grep trine:",
  "nc -ll -p 7777 -e /bin/cat >/dev/null 2>&1 &",
].join("\n");
const WEB =
  "mkdir /www; echo from-web >/www/index.html; httpd -p 127.0.0.1:9090 -h /www; echo web is up; exec sleep 100000";

let at: NodeUnderTest;
let dir: string;
let data: LoopDevice;
let pod: PodOfMany;
let web: RunningPod;
let machine: RunningPod;

/** As kubelet writes a ConfigMap: files are links into ..data, which is replaced by rename. */
async function publish(version: string): Promise<void> {
  const volume = join(dir, "config");
  await mkdir(join(volume, version), { recursive: true });
  await writeFile(join(volume, version, "key"), version);
  await symlink(version, join(volume, "..data_tmp"));
  await rename(join(volume, "..data_tmp"), join(volume, "..data"));
}

beforeAll(async () => {
  at = await NodeUnderTest.start("2.4", {
    config: `machines: { agent: ${join(DIST, "bin/trine-agent")} }`,
  });
  const busybox = await busyboxImage();
  await at.node.containerd.importImage(busybox);
  dir = join(at.node.dir, "volumes");
  for (const each of ["vol", "shared"]) await mkdir(join(dir, each), { recursive: true });
  await publish("zero");
  await symlink("..data/key", join(dir, "config/key"));
  data = await LoopDevice.make(join(at.node.dir, "data.img"), 4 * MIB);
  pod = await PodOfMany.make(at.node, { name: "all", annotations: ANNOTATIONS });
  const shared = { containerPath: "/shared", hostPath: join(dir, "shared") };
  web = await pod.start({
    ...{ name: "web", image: busybox.name, command: ["/bin/sh", "-c", WEB] },
    mounts: [shared],
  });
  machine = await pod.start({
    ...{ name: "machine", image: at.tiny, stdin: true, tty: true },
    devices: [{ hostPath: data.path, containerPath: "/dev/data", permissions: "mrw" }],
    mounts: [
      shared,
      { containerPath: "/vol", hostPath: join(dir, "vol") },
      { containerPath: "/etc/app", hostPath: join(dir, "config"), readonly: true },
    ],
  });
}, 1_800_000);

afterAll(async () => {
  await data[Symbol.asyncDispose]();
  await at.end();
});

interface Talk {
  readonly input: Writable;
  heard: string;
  /** What is typed for a word, and what comes back then; the console echoes what is typed, too. */
  readonly words: (word: string) => { typed: string; back: string };
}

function talk(
  streams: { readonly from: Readable | undefined; readonly input: Writable | undefined },
  words: Talk["words"],
): Talk {
  const { from, input } = streams;
  if (from === undefined || input === undefined) throw new Error("a session without streams");
  const made: Talk = { input, heard: "", words };
  from.on("data", (bytes: Buffer) => (made.heard += bytes.toString()));
  return made;
}

/** An exec with a terminal, which only our agent has; the console; a connection to a service of the guest. */
async function sessions(): Promise<{ talks: Talk[]; end: () => void }> {
  const { cri } = at.node.containerd;
  const { containerId } = machine;
  const want = { stdin: true, stdout: true, tty: true };
  const cmd = ["/bin/sh", "-c", "stty -echo; while read -r line; do echo got=$line; done"];
  const exec = await cri.exec({ containerId, cmd, ...want });
  const console = await cri.attach({ containerId, ...want });
  const forward = await cri.portForward(pod.podSandboxId);
  const connection: Duplex = forward.connect(7777);
  const talks = [
    talk({ from: exec.stdout, input: exec.stdin }, (word) => {
      return { typed: `${word}\n`, back: `got=${word}` };
    }),
    talk({ from: console.stdout, input: console.stdin }, (word) => {
      return { typed: `echo ${word}''-said\n`, back: `${word}-said` };
    }),
    talk({ from: connection, input: connection }, (word) => ({ typed: word, back: word })),
  ];
  const end = (): void => {
    exec.close();
    console.close();
    connection.destroy();
    forward.close();
  };
  return { talks, end };
}

async function answers(talks: readonly Talk[], word: string): Promise<void> {
  for (const [index, each] of talks.entries()) {
    const { typed, back } = each.words(word);
    each.input.write(typed);
    await pollUntil(`session ${index} answers`, { ms: STEP_MS, everyMs: 50 }, () =>
      Promise.resolve(each.heard.includes(back) ? true : undefined),
    );
  }
}

/** Everything that runs for the pod. */
async function processes(): Promise<string[]> {
  const { shim } = await at.view(pod);
  const children = await readFile(`/proc/${shim.pid}/task/${shim.pid}/children`, "utf8");
  const pids = [shim.pid, ...children.trim().split(" ").map(Number)];
  return Promise.all(pids.map(async (pid) => `${pid} ${await statusField(pid, "Name")}`));
}

/** Each thing once more, with a word that was not there before. */
async function allWorks(word: string): Promise<void> {
  const sh = async (script: string): Promise<string> => (await pod.exec(machine, script)).out;
  const disk = (name: string): string =>
    `/dev/$(cd /sys/block; grep -l ${name} */serial | cut -d/ -f1)`;
  for (const name of ["data", "file"]) {
    const write = `printf ${word} | dd of=${disk(name)} conv=notrunc,fsync 2>/dev/null`;
    expect(await sh(`${write}; head -c ${word.length} ${disk(name)}`)).toBe(word);
  }
  expect(await data.read(0, word.length)).toBe(word);
  expect((await readFile(join(dir, "vol/disk.img"), "latin1")).startsWith(word)).toBe(true);
  await publish(word);
  expect(await sh(`echo ${word} >/shared/${word}; cat /shared/*`)).toContain(`${word}\n`);
  expect((await pod.exec(web, `cat /shared/${word}`)).out).toBe(`${word}\n`);
  await pollUntil("the new ConfigMap", { ms: STEP_MS, everyMs: 200 }, async () =>
    (await sh("cat /etc/app/key")) === word ? true : undefined,
  );
  expect(await sh("wget -qO- http://127.0.0.1:9090/")).toBe("from-web\n");
  expect((await pod.exec(web, "wget -qO- http://127.0.0.1:8080/")).out).toBe("all\n");
  const seen = await execIn(at.node, machine, { cmd: ["tty"], tty: true });
  expect(seen).toMatchObject({ status: 0 });
  const { talks, end } = await sessions();
  await answers(talks, `${word}-new`);
  end();
}

test(
  "trined and then containerd are killed and started under a pod that has everything",
  async () => {
    await at.node.untilOutput(web, "web is up", STEP_MS);
    await at.node.untilOutput(machine, READY, 2 * BOOT_MS);
    expect((await pod.exec(machine, BOOTHOOK)).out).toBe("");
    await pollUntil("our agent answers", { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await execIn(at.node, machine, { cmd: ["true"], tty: true })).status === 0
        ? true
        : undefined,
    );
    const before = await processes();
    expect(before.map((each) => each.split(" ")[1]).sort()).toEqual(
      expect.arrayContaining(["swtpm", "virtiofsd"]),
    );
    await allWorks("first");

    const { talks, end } = await sessions();
    await answers(talks, "open");
    await at.node.killTrined();
    await answers(talks, "without-daemon");
    await at.node.startTrined();
    await answers(talks, "with-daemon");
    end();
    await allWorks("second");
    expect(await processes()).toEqual(before);

    await at.node.containerd.kill9();
    await at.node.containerd.start();
    await allWorks("third");
    expect(await processes()).toEqual(before);
    await pod.remove();
  },
  6 * BOOT_MS,
);
