// Pods by hand on a real node: the built program, as a person at a shell uses it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { pollUntil } from "@trine/base";
import { DIST, TrineNode, busyboxImage, tinyGuestImage } from "@trine/testkit";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Ran } from "./testing.ts";

const BUSYBOX = "trine.test/busybox:1";
const BOOT_MS = 90_000;

let node: TrineNode;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-pods-"));
  node = await TrineNode.start({ version: "2.4" });
  await node.containerd.importImage(await busyboxImage());
  await node.containerd.importImage(await tinyGuestImage());
}, 1_800_000);

afterAll(async () => {
  // What the tests leave is a failure of theirs: every pod was removed by the program.
  expect((await trine("ps", "-q")).stdout).toBe("");
  expect(await remains()).toEqual([]);
  expect(await node.stop()).toEqual([]);
  await rm(dir, { recursive: true });
});

// A test that failed leaves its pods; they are not the next one's.
afterEach(async () => {
  const left = (await trine("ps", "-q")).stdout.trim().split("\n").filter(Boolean);
  if (left.length > 0) await trine("rm", "--grace", "0", ...left);
});

function environment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PATH: [join(DIST, "bin"), process.env["PATH"] ?? ""].join(delimiter),
    TRINE_STATE: node.stateDir,
    TRINE_DATA: join(dir, "data"),
    TRINE_CONTAINERD: node.containerd.socket,
  };
}

interface Running {
  readonly ended: Promise<Ran>;
  readonly interrupt: () => void;
  readonly output: () => string;
  readonly errors: () => string;
}

function begin(argv: readonly string[], typed = ""): Running {
  const args = [join(DIST, "trine.mjs"), ...argv];
  const child = spawn(process.execPath, args, { env: environment(), stdio: "pipe" });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin.on("error", () => undefined); // it may end before it has read all
  child.stdin.end(typed);
  const ended = once(child, "close").then(([code]) => ({ code: code as number, stdout, stderr }));
  const interrupt = (): void => void child.kill("SIGINT");
  return { ended, interrupt, output: () => stdout, errors: () => stderr };
}

const trine = (...argv: string[]): Promise<Ran> => begin(argv).ended;

/** Runs one in the control group of this node's pods. */
const run = (...argv: string[]): Promise<Ran> => trine("run", ...cgroup(), ...argv);
const cgroup = (): string[] => ["--cgroup-parent", node.containerd.cgroupParent];

/** What the program keeps of pods, and volumes. */
async function remains(): Promise<string[]> {
  const dirs = [join(dir, "data/pods"), join(dir, "data/names"), join(node.stateDir, "volumes")];
  return (await Promise.all(dirs.map((each) => readdir(each).catch(() => [])))).flat();
}

async function apply(name: string, documents: string): Promise<Ran> {
  const file = join(dir, `${name}.yaml`);
  await writeFile(file, documents);
  return trine("apply", "-f", file, ...cgroup());
}

test("run answers the program's output and exit code, and --rm leaves nothing", async () => {
  const script = 'echo out-$WHO; echo err >&2; cat /mnt/x; read line; echo "got $line"; exit 7';
  await writeFile(join(dir, "x"), "from the node\n");
  const flags = ["--rm", "-i", "-e", "WHO=$(me)", "-v", `${dir}:/mnt:ro`, "--name", "once"];
  const args = ["run", ...cgroup(), ...flags, BUSYBOX, "--", "sh", "-c", script];
  const ran = await begin(args, "typed\n").ended;
  expect({ code: ran.code, stdout: ran.stdout }).toEqual({
    code: 7,
    stdout: "out-$(me)\nfrom the node\ngot typed\n",
  });
  expect(ran.stderr).toContain("default/once: starting container main\n");
  expect(ran.stderr).toContain("\nerr\n");
  expect(await run("--rm", BUSYBOX, "--", "nosuch")).toMatchObject({ code: 127, stdout: "" });
  expect(await remains()).toEqual([]);
});

const POD = `
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { color: blue, page.html: "<p>hello</p>" }
---
apiVersion: v1
kind: Secret
metadata: { name: keys }
stringData: { token: s3cret }
---
apiVersion: v1
kind: Pod
metadata: { name: full, labels: { app: full, tier: test } }
spec:
  hostname: full-host
  hostAliases: [{ ip: 10.9.8.7, hostnames: [peer.test] }]
  terminationGracePeriodSeconds: 1
  securityContext: { fsGroup: 4321, supplementalGroups: [77] }
  initContainers:
    - name: prepare
      image: ${BUSYBOX}
      command: [sh, -c, "echo prepared > /work/file; ls -ld /work"]
      volumeMounts: [{ name: work, mountPath: /work }]
    - name: helper
      image: ${BUSYBOX}
      restartPolicy: Always
      command: [sh, -c, "test -s /work/file && echo helping && exec sleep 1000"]
      volumeMounts: [{ name: work, mountPath: /work }]
  containers:
    - name: main
      image: ${BUSYBOX}
      command: [sh, -c, "echo $(GREETING); exec httpd -f -p 8080 -h /conf"]
      env:
        - { name: COLOR, valueFrom: { configMapKeyRef: { name: settings, key: color } } }
        - { name: GREETING, value: "it is $(COLOR)" }
        - { name: TOKEN, valueFrom: { secretKeyRef: { name: keys, key: token } } }
        - { name: IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }
        - { name: LIMIT, valueFrom: { resourceFieldRef: { resource: limits.memory, divisor: 1Mi } } }
      resources: { limits: { memory: 64Mi, cpu: 500m } }
      securityContext:
        runAsUser: 1000
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: work, mountPath: /work }
        - { name: memory, mountPath: /memory }
        - { name: conf, mountPath: /conf }
        - { name: conf, mountPath: /one.html, subPath: page.html }
        - { name: all, mountPath: /all }
        - { name: claim, mountPath: /claim }
  volumes:
    - { name: work, emptyDir: {} }
    - { name: memory, emptyDir: { medium: Memory, sizeLimit: 1Mi } }
    - { name: conf, configMap: { name: settings } }
    - name: all
      projected:
        defaultMode: 0400
        sources:
          - secret: { name: keys }
          - downwardAPI: { items: [{ path: labels, fieldRef: { fieldPath: metadata.labels } }] }
    - { name: claim, persistentVolumeClaim: { claimName: data } }
`;

test("apply: a pod with everything is as its file says, through stop, start and rm", async () => {
  const claim = join(dir, "claim");
  await mkdir(claim);
  const file = join(dir, "full.yaml");
  await writeFile(file, POD.replace("0400", "256"));
  const command = ["apply", "-f", file, "--pvc", `data=${claim}`, ...cgroup()];
  const applied = await trine(...command);
  expect(applied).toMatchObject({ code: 0, stdout: "default/full started\n" });
  expect(applied.stderr).toContain("restartPolicy Always needs kubelet");
  expect(await trine(...command)).toMatchObject({ code: 0, stdout: "default/full unchanged\n" });
  const check = [
    "hostname; id -u; id -G; echo $TOKEN $LIMIT; cat /one.html; echo; cat /all/token; echo",
    "cat /all/labels; echo; cat /work/file; touch /x 2>&1; grep -c peer.test /etc/hosts",
    "touch /claim/written; stat -Lc %g /claim/written /all/token; grep NoNewPrivs /proc/self/status",
    "dd if=/dev/zero of=/memory/big bs=1M count=2 2>&1 | grep -o 'No space'; readlink /conf/color",
    'test "$IP" = "$(hostname -i)" && echo same-ip; cat /sys/fs/cgroup/memory/memory.limit_in_bytes',
  ].join("; ");
  const seen = await trine("exec", "full", "-c", "main", "--", "sh", "-c", check);
  expect(seen.stdout.split("\n")).toEqual([
    ...["full-host", "1000", "0 77 4321", "s3cret 64", "<p>hello</p>", "s3cret"],
    ...['app="full"', 'tier="test"', "prepared", "touch: /x: Read-only file system", "1"],
    ...["4321", "4321", "NoNewPrivs:\t1", "No space", "..data/color", "same-ip"],
    ...[String(64 * 1024 * 1024), ""],
  ]);
  expect(await readdir(claim)).toEqual(["written"]);
  expect((await trine("logs", "full", "-c", "main")).stdout).toBe("it is blue\n");
  expect((await trine("logs", "full", "-c", "prepare")).stdout).toMatch(/^drwxrwsrwx .* 4321 /);
  const selected = await trine("ps", "-l", "app=full,tier in (test)", "--no-headers");
  expect(selected.stdout).toMatch(/^default +full +container +2\/3 +Running +0 /);
  expect((await trine("ps", "-l", "app!=full", "-q")).stdout).toBe("");

  expect(await trine("stop", "full")).toMatchObject({ code: 0, stdout: "default/full stopped\n" });
  expect((await trine("why", "full")).stdout).toContain("next: trine start default/full");
  const started = await trine("start", "-l", "app=full");
  expect(started).toMatchObject({ code: 0, stdout: "default/full started\n" });
  const again = await trine("exec", "full", "-c", "main", "--", "cat", "/all/token", "/work/file");
  expect(again).toMatchObject({ code: 0, stdout: "s3cretprepared\n" });
  expect(await trine("rm", "full", "nosuch", "--grace", "0")).toMatchObject({
    code: 3,
    stdout: "default/full removed\n",
    stderr: expect.stringContaining("no pod nosuch") as string,
  });
  expect(await remains()).toEqual([]);
});

test("every form of ps and inspect; why and logs of a container that failed", async () => {
  await run("--name", "failing", BUSYBOX, "--", "sh", "-c", "echo last words; exit 3");
  await pollUntil("it has failed", { ms: 30_000 }, async () =>
    (await trine("ps")).stdout.includes("Error(3)") ? true : undefined,
  );
  const { stdout: json } = await trine("ps", "-o", "json");
  const list = JSON.parse(json) as { items: object[] };
  expect(list).toMatchObject({ apiVersion: "v1", kind: "List" });
  expect(list.items[0]).toMatchObject({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "failing", namespace: "default" },
    spec: { containers: [{ name: "main", image: BUSYBOX }] },
    status: {
      phase: "Failed",
      containerStatuses: [{ name: "main", ready: false, state: { terminated: { exitCode: 3 } } }],
    },
  });
  expect((await trine("ps", "-o", "name")).stdout).toBe("default/failing\n");
  expect((await trine("ps", "-o", "yaml")).stdout).toContain("    name: failing\n");
  expect((await trine("ps", "-o", "wide")).stdout).toContain(BUSYBOX);
  const path = `jsonpath={range .items[*]}{.metadata.name}={.status.phase}{"\\n"}{end}`;
  expect((await trine("ps", "-o", path)).stdout).toBe("failing=Failed\n\n");
  expect(JSON.parse((await trine("inspect", "failing")).stdout)).toMatchObject({
    level: "container",
    spec: { restartPolicy: "Never" },
  });
  const why = await trine("why", "failing");
  expect(why.code).toBe(1);
  expect(why.stdout).toMatch(
    /exit code 3\n {2}next: trine logs default\/failing.*\n.*\n {2}last words\n$/s,
  );
  expect(await trine("exec", "failing", "--", "ls")).toMatchObject({ code: 5, stdout: "" });
  expect((await trine("start", "failing")).stdout).toBe("default/failing started\n");
  expect((await trine("logs", "failing", "-p")).stdout).toBe("last words\n");
  expect((await run("--name", "failing", BUSYBOX)).code).toBe(5);
  await trine("rm", "failing");
});

test("exec, attach, cp, port-forward, pause, top, events and logs -f of a running pod", async () => {
  const events = begin(["events", "-o", "json"]);
  const page = "mkdir -p /www; echo page > /www/index.html; echo up";
  const serve = `${page}; httpd -p 8080 -h /www; while read line; do echo "heard $line"; done; sleep 1000`;
  const file = [
    "apiVersion: v1\nkind: Pod\nmetadata: { name: web }",
    "spec:\n  terminationGracePeriodSeconds: 0\n  containers:",
    `    - { name: main, image: "${BUSYBOX}", stdin: true, command: [sh, -c, '${serve}'] }\n`,
  ].join("\n");
  expect(await apply("web", file)).toMatchObject({ code: 0 });
  const logs = begin(["logs", "-f", "web"]);
  expect(await trine("exec", "web", "--", "sh", "-c", "exit 9")).toMatchObject({ code: 9 });
  expect(await trine("exec", "web", "--", "nosuch")).toMatchObject({ code: 127 });
  expect(await trine("exec", "web", "--", "/www")).toMatchObject({ code: 126 });
  const piped = await begin(["exec", "-i", "web", "--", "tr", "a-z", "A-Z"], "loud").ended;
  expect(piped).toMatchObject({ code: 0, stdout: "LOUD" });

  const attached = begin(["attach", "-i", "web"], "hello\n");
  await pollUntil("attach shows", { ms: 20_000 }, () =>
    attached.output().includes("heard hello") ? true : undefined,
  );
  attached.interrupt();
  expect((await attached.ended).code).toBe(130);

  const big = Buffer.alloc(3_000_000, "trine ");
  await mkdir(join(dir, "tree/sub"), { recursive: true });
  await writeFile(join(dir, "tree/sub/a b"), big);
  await writeFile(join(dir, "x"), "from the node\n");
  expect(await trine("cp", join(dir, "tree"), "web:/tmp")).toMatchObject({ code: 0, stderr: "" });
  expect(await trine("cp", join(dir, "x"), "web:/tmp/y,&.txt")).toMatchObject({ code: 0 });
  expect(await trine("cp", "default/web:/tmp/tree", join(dir, "back"))).toMatchObject({ code: 0 });
  expect((await readFile(join(dir, "back/sub/a b"))).equals(big)).toBe(true);
  expect(await trine("cp", "web:/tmp/y,&.txt", dir)).toMatchObject({ code: 0, stderr: "" });
  expect(await readFile(join(dir, "y,&.txt"), "utf8")).toBe("from the node\n");
  expect(await trine("cp", "web:/nosuch", dir)).toMatchObject({ code: 3 });

  const forward = begin(["port-forward", "web", ":8080"]);
  const port = await pollUntil(
    "it listens",
    { ms: 20_000 },
    () => / 127\.0\.0\.1:(\d+)/.exec(forward.output())?.[1],
  );
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("page\n");
  forward.interrupt();
  expect((await forward.ended).code).toBe(130);

  expect(await trine("pause", "web")).toMatchObject({ code: 0, stdout: "default/web paused\n" });
  expect(await trine("resume", "web")).toMatchObject({ code: 0, stdout: "default/web resumed\n" });
  const usage = JSON.parse((await trine("top", "web", "-o", "json")).stdout) as { items: object[] };
  expect(usage.items).toMatchObject([{ pod: "web", container: "main" }]);

  expect(await trine("rm", "web")).toMatchObject({ code: 0 });
  expect(await logs.ended).toMatchObject({ code: 0, stdout: "up\nheard hello\n" });
  await pollUntil("the end is told", { ms: 20_000 }, () =>
    /"type":"Exited","namespace":"default","pod":"web","container":"main"/.test(events.output())
      ? true
      : undefined,
  );
  events.interrupt();
  expect((await events.ended).code).toBe(130);
});

test("an init container that fails keeps the pod for its logs; --timeout leaves it, start goes on", async () => {
  const pod = (name: string, script: string): string =>
    [
      `apiVersion: v1\nkind: Pod\nmetadata: { name: ${name} }\nspec:`,
      `  terminationGracePeriodSeconds: 0\n  initContainers:`,
      `    - { name: first, image: "${BUSYBOX}", command: [sh, -c, '${script}'] }`,
      `  containers:\n    - { name: main, image: "${BUSYBOX}", command: [sleep, "1000"] }\n`,
    ].join("\n");
  const failed = await apply("bad", pod("bad", "echo no luck; exit 4"));
  expect(failed).toMatchObject({ code: 5, stdout: "" });
  expect(failed.stderr).toMatch(/init container first failed \(Error, exit code 4\): `trine logs/);
  expect((await trine("logs", "bad")).stdout).toBe("no luck\n");
  expect((await trine("why", "bad")).stdout).toContain(
    "container main of default/bad: has not been made",
  );

  const gate = join(dir, "gate");
  await mkdir(gate);
  const slow = pod("slow", "until test -e /gate/open; do sleep 0.1; done")
    .replace("name: first,", "name: first, volumeMounts: [{ name: gate, mountPath: /gate }],")
    .replace(
      "  containers:",
      `  volumes: [{ name: gate, hostPath: { path: ${gate} } }]\n  containers:`,
    );
  const file = join(dir, "slow.yaml");
  await writeFile(file, slow);
  const late = await trine("apply", "-f", file, ...cgroup(), "--timeout", "4s");
  expect(late).toMatchObject({ code: 4, stdout: "" });
  expect(late.stderr).toContain("waiting for init container first");
  await writeFile(join(gate, "open"), "");
  expect(await trine("start", "slow")).toMatchObject({ code: 0, stdout: "default/slow started\n" });
  expect((await trine("ps")).stdout).toMatch(/slow +container +1\/2 +Running/);
  expect((await trine("rm", "bad", "slow")).code).toBe(0);
});

test("^C at each step of run leaves nothing", async () => {
  const steps = [
    /creating the sandbox/,
    /preparing volumes/,
    /creating container/,
    /starting container/,
  ];
  for (const step of steps) {
    const running = begin(["run", ...cgroup(), "--name", "gone", BUSYBOX, "--", "sleep", "1000"]);
    await pollUntil(String(step), { ms: 30_000, everyMs: 5 }, () =>
      step.test(running.errors()) ? true : undefined,
    );
    running.interrupt();
    const { code } = await running.ended;
    // The last step may have been over.
    if (code === 0) await trine("rm", "gone", "--grace", "0");
    else expect(code).toBe(130);
    expect((await trine("ps", "-q")).stdout).toBe("");
    expect(await remains()).toEqual([]);
  }
});

test("a machine: run, console log, pause, stop, start, rm; volumes are refused", async () => {
  const flags = ["--level", "vm", "--name", "vm", "--memory", "128Mi"];
  const image = "trine.test/tiny-guest:1";
  const volume = await run(...flags, "-v", `${dir}:/mnt`, image);
  expect(volume).toMatchObject({ code: 1, stdout: "" });
  expect(volume.stderr).toContain("volumes do not reach a whole machine");
  expect(await run(...flags, image)).toMatchObject({ code: 0, stdout: "default/vm\n" });
  await pollUntil("the guest is up", { ms: BOOT_MS, everyMs: 500 }, async () =>
    (await trine("logs", "vm")).stdout.includes("TINY-GUEST READY") ? true : undefined,
  );
  expect((await trine("ps", "-o", "wide")).stdout).toMatch(/vm +1\/1 +Running .* 128Mi /);
  const inspected = JSON.parse((await trine("inspect", "vm")).stdout) as object;
  expect(inspected).toMatchObject({ level: "vm", machine: { state: "running" } });
  expect((await trine("pause", "vm")).stdout).toBe("default/vm paused\n");
  expect(JSON.parse((await trine("inspect", "vm")).stdout)).toMatchObject({
    machine: { state: "paused" },
  });
  expect((await trine("resume", "vm")).stdout).toBe("default/vm resumed\n");
  expect(await trine("stop", "vm", "--grace", "0")).toMatchObject({ code: 0 });
  expect((await trine("start", "vm")).stdout).toBe("default/vm started\n");
  expect(await trine("rm", "vm", "--grace", "0")).toMatchObject({ code: 0 });
});

test("what is wrong with a file is said with its path, and nothing is started", async () => {
  const bad = POD.replace("restartPolicy: Always", "restartPolicy: Never").replace(
    "hostname:",
    "hostnam:",
  );
  const ran = await apply(
    "bad",
    bad.replace("- name: main", "- name: main\n      livenessProbe: {}"),
  );
  expect(ran).toMatchObject({ code: 2, stdout: "" });
  expect(ran.stderr).toMatch(
    /bad\.yaml, document 3 \(Pod "full"\): .*spec\.hostnam: no such field/,
  );
  expect(ran.stderr).toMatch(/spec\.initContainers\[1\]\.restartPolicy/);
  expect(ran.stderr).toMatch(
    /spec\.containers\[0\]\.livenessProbe: not supported: there is no kubelet/,
  );
  expect(await apply("nopvc", POD.replace("0400", "256"))).toMatchObject({ code: 3, stdout: "" });
  expect((await trine("ps", "-q")).stdout).toBe("");
  expect(await remains()).toEqual([]);
});
