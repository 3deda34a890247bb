// Pods by hand on a real node: the built program, as a person at a shell uses it.
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { pollUntil } from "@trine/base";
import { freePort, microvmConfig, microvmGuest } from "@trine/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { BUSYBOX, HandNode } from "./testing/hand-node.ts";
import type { Running } from "./testing/hand-node.ts";
import { parseAs } from "./testing/schema.ts";

const BOOT_MS = 90_000;

const PORTS = `
apiVersion: v1
kind: Pod
metadata: { name: ports }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: { sysctls: [{ name: net.ipv4.ip_unprivileged_port_start, value: "81" }] }
  containers:
    - name: main
      image: ${BUSYBOX}
      command: [sh, -c, "echo page > /part/index.html; exec httpd -f -p 8080 -h /part"]
      ports: [{ containerPort: 8080, hostPort: HOST_PORT }]
      volumeMounts:
        - { name: work, mountPath: /part, subPath: a/b }
        - { name: work, mountPath: /all }
        #IMAGE
  volumes:
    - { name: work, emptyDir: {} }
    - { name: image, image: { reference: "${BUSYBOX}" } }
`;
const IMAGE_VOLUME = "- { name: image, mountPath: /image }";

const KEYS = `
apiVersion: v1
kind: Secret
metadata: { name: keys }
stringData: { token: s3cret }
---`;

const MICROVM = `${KEYS}
apiVersion: v1
kind: Pod
metadata: { name: mv }
spec:
  runtimeClassName: trine-microvm
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  initContainers:
    - name: prepare
      image: ${BUSYBOX}
      command: [sh, -c, "echo prepared > /work/file; mkdir -p /work/part/made"]
      volumeMounts: [{ name: work, mountPath: /work }]
  containers:
    - name: main
      image: ${BUSYBOX}
      command: [sh, -c, "mkdir /tmp/www; echo page > /tmp/www/index.html; echo up; exec httpd -f -p 8080 -h /tmp/www"]
      env: [{ name: COLOR, value: blue }]
      securityContext: { runAsUser: 1000 }
      volumeMounts:
        - { name: work, mountPath: /work }
        - { name: work, mountPath: /part, subPath: part }
        - { name: keys, mountPath: /keys }
  volumes:
    - { name: work, emptyDir: {} }
    - { name: keys, secret: { secretName: keys } }
`;

const GONE = `${KEYS}
apiVersion: v1
kind: Pod
metadata: { name: gone }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  initContainers:
    - { name: first, image: "${BUSYBOX}", command: [sleep, "0.5"] }
    - { name: helper, image: "${BUSYBOX}", restartPolicy: Always, command: [sleep, "1000"] }
  containers:
    - name: main
      image: "${BUSYBOX}"
      command: [sleep, "1000"]
      volumeMounts:
        - { name: keys, mountPath: /keys }
        - { name: memory, mountPath: /memory }
        - { name: work, mountPath: /work, subPath: a/b }
  volumes:
    - { name: keys, secret: { secretName: keys } }
    - { name: memory, emptyDir: { medium: Memory } }
    - { name: work, emptyDir: {} }
`;

/** A machine with a container beside it, which shares a volume with nobody. */
const MIXED = `
apiVersion: v1
kind: Pod
metadata: { name: mixed, annotations: { trine.dev/memory: 128Mi } }
spec:
  runtimeClassName: trine-vm
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  initContainers:
    - { name: first, image: "${BUSYBOX}", command: [echo, before] }
  containers:
    - { name: legacy, image: "trine.test/tiny-guest:1" }
    - { name: side, image: "${BUSYBOX}", command: [sh, -c, "echo beside; exec sleep 1000"] }
`;

/** Port of the node that leads to one of the pod's. */
async function forwarded(hand: HandNode, pod: string): Promise<{ port: number; running: Running }> {
  const running = hand.begin(["port-forward", pod, ":8080"]);
  const port = await pollUntil(
    "it listens",
    { ms: 30_000 },
    () => / 127\.0\.0\.1:(\d+)/.exec(running.output())?.[1],
  );
  return { port: Number(port), running };
}

describe.each(["1.6", "2.4"] as const)("pods by hand on containerd %s", (version) => {
  let hand: HandNode;

  beforeAll(async () => {
    hand = await HandNode.start(version, microvmConfig(await microvmGuest()));
  }, 1_800_000);

  afterAll(async () => {
    // What the tests leave is a failure of theirs: every pod was removed by the program.
    expect(await hand.stop()).toEqual([]);
  });

  afterEach(() => hand.clear());

  test("run answers the program's output and exit code, and --rm leaves nothing", async () => {
    const script = 'echo out-$WHO; echo err >&2; cat /mnt/x; read line; echo "got $line"; exit 7';
    await writeFile(join(hand.dir, "x"), "from the node\n");
    const flags = ["--rm", "-i", "-e", "WHO=$(me)", "-v", `${hand.dir}:/mnt:ro`, "--name", "once"];
    const args = ["run", ...hand.cgroup(), ...flags, BUSYBOX, "--", "sh", "-c", script];
    const ran = await hand.begin(args, "typed\n").ended;
    expect({ code: ran.code, stdout: ran.stdout }).toEqual({
      code: 7,
      stdout: "out-$(me)\nfrom the node\ngot typed\n",
    });
    expect(ran.stderr).toContain("default/once: starting container main\n");
    expect(ran.stderr).toContain("\nerr\n");
    expect(await hand.run("--rm", BUSYBOX, "--", "nosuch")).toMatchObject({
      code: 127,
      stdout: "",
    });
    expect(await hand.remains()).toEqual([]);
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
    const claim = join(hand.dir, "claim");
    await mkdir(claim);
    const file = join(hand.dir, "full.yaml");
    await writeFile(file, POD.replace("0400", "256"));
    const command = ["apply", "-f", file, "--pvc", `data=${claim}`, ...hand.cgroup()];
    const applied = await hand.trine(...command);
    expect(applied).toMatchObject({ code: 0, stdout: "default/full started\n" });
    expect(applied.stderr).toContain("restartPolicy Always needs kubelet");
    expect(await hand.trine(...command)).toMatchObject({
      code: 0,
      stdout: "default/full unchanged\n",
    });
    const check = [
      "hostname; id -u; id -G; echo $TOKEN $LIMIT; cat /one.html; echo; cat /all/token; echo",
      "cat /all/labels; echo; cat /work/file; touch /x 2>&1; grep -c peer.test /etc/hosts",
      "touch /claim/written; stat -Lc %g /claim/written /all/token; grep NoNewPrivs /proc/self/status",
      "dd if=/dev/zero of=/memory/big bs=1M count=2 2>&1 | grep -o 'No space'; readlink /conf/color",
      'test "$IP" = "$(hostname -i)" && echo same-ip; cat /sys/fs/cgroup/memory/memory.limit_in_bytes',
    ].join("; ");
    const seen = await hand.trine("exec", "full", "-c", "main", "--", "sh", "-c", check);
    expect(seen.stdout.split("\n")).toEqual([
      ...["full-host", "1000", "0 77 4321", "s3cret 64", "<p>hello</p>", "s3cret"],
      ...['app="full"', 'tier="test"', "prepared", "touch: /x: Read-only file system", "1"],
      ...["4321", "4321", "NoNewPrivs:\t1", "No space", "..data/color", "same-ip"],
      ...[String(64 * 1024 * 1024), ""],
    ]);
    expect(await readdir(claim)).toEqual(["written"]);
    expect((await hand.trine("logs", "full", "-c", "main")).stdout).toBe("it is blue\n");
    expect((await hand.trine("logs", "full", "-c", "prepare")).stdout).toMatch(
      /^drwxrwsrwx .* 4321 /,
    );
    const selected = await hand.trine("ps", "-l", "app=full,tier in (test)", "--no-headers");
    expect(selected.stdout).toMatch(/^default +full +container +2\/3 +Running +0 /);
    expect((await hand.trine("ps", "-l", "app!=full", "-q")).stdout).toBe("");

    expect(await hand.trine("stop", "full")).toMatchObject({
      code: 0,
      stdout: "default/full stopped\n",
    });
    expect((await hand.trine("why", "full")).stdout).toContain("next: trine start default/full");
    const started = await hand.trine("start", "-l", "app=full");
    expect(started).toMatchObject({ code: 0, stdout: "default/full started\n" });
    const again = await hand.trine(
      "exec",
      "full",
      "-c",
      "main",
      "--",
      "cat",
      "/all/token",
      "/work/file",
    );
    expect(again).toMatchObject({ code: 0, stdout: "s3cretprepared\n" });
    expect(await hand.trine("rm", "full", "nosuch", "--grace", "0")).toMatchObject({
      code: 3,
      stdout: "default/full removed\n",
      stderr: expect.stringContaining("no pod nosuch") as string,
    });
    expect(await hand.remains()).toEqual([]);
  });

  test("wait and --for: exited with its codes, stopped, deleted, in time or not; the settings' file", async () => {
    const sleep = ["--", "sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 3"];
    expect(await hand.run("--name", "job", BUSYBOX, ...sleep)).toMatchObject({ code: 0 });
    const late = await hand.trine("wait", "job", "--timeout", "1s", "-v");
    expect(late).toMatchObject({ code: 4, stdout: "" });
    expect(late.stderr).toMatch(
      /request \d+ gRPC unix:\/\/\S+ \S+\/ListContainers: ok, [\d.]+ ms\n/,
    );
    expect(late.stderr).toContain("pod default/job is not exited yet: `trine why default/job`");
    expect((await hand.trine("wait", "job", "--for", "running")).stdout).toBe(
      "default/job running\n",
    );
    const waiting = hand.trine("wait", "job");
    expect(await hand.trine("exec", "job", "--", "touch", "/tmp/go")).toMatchObject({ code: 0 });
    expect(await waiting).toMatchObject({ code: 0, stdout: "default/job exited (main 3)\n" });
    const done = await hand.run("--name", "done", "--for", "exited", BUSYBOX, "--", "true");
    expect(done).toMatchObject({ code: 0, stdout: "default/done\n" });
    expect((await hand.trine("ps", "--no-headers")).stdout).toMatch(/default +done .* Completed /);
    const stopped = hand.trine("wait", "job", "--for", "stopped");
    await hand.trine("stop", "job", "--grace", "0");
    expect((await stopped).stdout).toBe("default/job stopped\n");
    const gone = hand.begin(["wait", "job", "done", "--for", "deleted"]);
    await pollUntil(
      "it waits",
      { ms: 30_000 },
      () => gone.errors().includes("waiting") || undefined,
    );
    expect(await hand.trine("rm", "job", "done", "--grace", "0")).toMatchObject({ code: 0 });
    const lines = "default/job deleted\ndefault/done deleted\n";
    expect(await gone.ended).toMatchObject({ code: 0, stdout: lines });
    const status = parseAs("status", (await hand.trine("inspect", "job", "-o", "json")).stderr);
    expect(status).toMatchObject({ reason: "NotFound", code: 404 });

    await mkdir(join(hand.dir, "trine"));
    const file = join(hand.dir, "trine/config.yaml");
    const settings = "apiVersion: cli.trine.dev/v1alpha1\nprogress: none\nlevel: jail\n";
    await writeFile(file, settings, { mode: 0o644 });
    expect((await hand.trine("config", "path")).stdout).toBe(`${file}\n`);
    expect(await hand.trine("ps")).toMatchObject({ code: 2, stdout: "" });
    await writeFile(file, settings.replace("jail", "container"));
    const quiet = await hand.run("--name", "quiet", BUSYBOX, "--", "true");
    expect(quiet).toEqual({ code: 0, stdout: "default/quiet\n", stderr: "" });
    expect((await hand.trine("config", "view", "--show-origin")).stdout).toContain(file);
    await rm(join(hand.dir, "trine"), { recursive: true });
    await hand.trine("rm", "quiet");
  });

  test("every form of ps and inspect; why and logs of a container that failed", async () => {
    await hand.run("--name", "failing", BUSYBOX, "--", "sh", "-c", "echo last words; exit 3");
    await pollUntil("it has failed", { ms: 30_000 }, async () =>
      (await hand.trine("ps")).stdout.includes("Error(3)") ? true : undefined,
    );
    const { stdout: json } = await hand.trine("ps", "-o", "json");
    const list = parseAs("ps", json) as { items: object[] };
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
    expect((await hand.trine("ps", "-o", "name")).stdout).toBe("default/failing\n");
    expect((await hand.trine("ps", "-o", "yaml")).stdout).toContain("    name: failing\n");
    expect((await hand.trine("ps", "-o", "wide")).stdout).toContain(BUSYBOX);
    const path = `jsonpath={range .items[*]}{.metadata.name}={.status.phase}{"\\n"}{end}`;
    expect((await hand.trine("ps", "-o", path)).stdout).toBe("failing=Failed\n\n");
    expect(parseAs("inspect", (await hand.trine("inspect", "failing")).stdout)).toMatchObject({
      level: "container",
      spec: { restartPolicy: "Never" },
    });
    const why = await hand.trine("why", "failing");
    expect(why.code).toBe(1);
    const reasons = await hand.trine("why", "failing", "-o", "json");
    expect(parseAs("why", reasons.stdout)).toMatchObject({ pod: "default/failing" });
    expect(why.stdout).toMatch(
      /exit code 3\n {2}next: trine logs default\/failing.*\n.*\n {2}last words\n$/s,
    );
    expect(await hand.trine("exec", "failing", "--", "ls")).toMatchObject({ code: 5, stdout: "" });
    expect((await hand.trine("start", "failing")).stdout).toBe("default/failing started\n");
    expect((await hand.trine("logs", "failing", "-p")).stdout).toBe("last words\n");
    expect((await hand.run("--name", "failing", BUSYBOX)).code).toBe(5);
    await hand.trine("rm", "failing");
  });

  test("exec, attach, cp, port-forward, pause, top, events and logs -f of a running pod", async () => {
    const events = hand.begin(["events", "-o", "json"]);
    const page = "mkdir -p /www; echo page > /www/index.html; echo up";
    const serve = `${page}; httpd -p 8080 -h /www; while read line; do echo "heard $line"; done; sleep 1000`;
    const file = [
      "apiVersion: v1\nkind: Pod\nmetadata: { name: web }",
      "spec:\n  terminationGracePeriodSeconds: 0\n  containers:",
      `    - { name: main, image: "${BUSYBOX}", stdin: true, command: [sh, -c, '${serve}'] }\n`,
    ].join("\n");
    expect(await hand.apply("web", file)).toMatchObject({ code: 0 });
    const logs = hand.begin(["logs", "-f", "web"]);
    expect(await hand.trine("exec", "web", "--", "sh", "-c", "exit 9")).toMatchObject({ code: 9 });
    expect(await hand.trine("exec", "web", "--", "nosuch")).toMatchObject({ code: 127 });
    expect(await hand.trine("exec", "web", "--", "/www")).toMatchObject({ code: 126 });
    const piped = await hand.begin(["exec", "-i", "web", "--", "tr", "a-z", "A-Z"], "loud").ended;
    expect(piped).toMatchObject({ code: 0, stdout: "LOUD" });

    const attached = hand.begin(["attach", "-i", "web"], "hello\n");
    await pollUntil("attach shows", { ms: 20_000 }, () =>
      attached.output().includes("heard hello") ? true : undefined,
    );
    attached.signal("SIGINT");
    expect((await attached.ended).code).toBe(130);

    const big = Buffer.alloc(3_000_000, "trine ");
    await mkdir(join(hand.dir, "tree/sub"), { recursive: true });
    await writeFile(join(hand.dir, "tree/sub/a b"), big);
    await writeFile(join(hand.dir, "x"), "from the node\n");
    expect(await hand.trine("cp", join(hand.dir, "tree"), "web:/tmp")).toMatchObject({
      code: 0,
      stderr: "",
    });
    expect(await hand.trine("cp", join(hand.dir, "x"), "web:/tmp/y,&.txt")).toMatchObject({
      code: 0,
    });
    expect(await hand.trine("cp", "default/web:/tmp/tree", join(hand.dir, "back"))).toMatchObject({
      code: 0,
    });
    expect((await readFile(join(hand.dir, "back/sub/a b"))).equals(big)).toBe(true);
    expect(await hand.trine("cp", "web:/tmp/y,&.txt", hand.dir)).toMatchObject({
      code: 0,
      stderr: "",
    });
    expect(await readFile(join(hand.dir, "y,&.txt"), "utf8")).toBe("from the node\n");
    expect(await hand.trine("cp", "web:/nosuch", hand.dir)).toMatchObject({ code: 3 });

    const { port, running: forward } = await forwarded(hand, "web");
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("page\n");
    forward.signal("SIGINT");
    expect((await forward.ended).code).toBe(130);

    expect(await hand.trine("pause", "web")).toMatchObject({
      code: 0,
      stdout: "default/web paused\n",
    });
    expect(await hand.trine("resume", "web")).toMatchObject({
      code: 0,
      stdout: "default/web resumed\n",
    });
    const usage = parseAs("top", (await hand.trine("top", "web", "-o", "json")).stdout) as {
      items: object[];
    };
    expect(usage.items).toMatchObject([{ pod: "web", container: "main" }]);

    expect(await hand.trine("rm", "web")).toMatchObject({ code: 0 });
    expect(await logs.ended).toMatchObject({ code: 0, stdout: "up\nheard hello\n" });
    await pollUntil("the end is told", { ms: 20_000 }, () =>
      /"type":"Exited","namespace":"default","pod":"web","container":"main"/.test(events.output())
        ? true
        : undefined,
    );
    events.signal("SIGINT");
    const seen = await events.ended;
    expect(seen.code).toBe(130);
    for (const line of seen.stdout.trim().split("\n")) parseAs("event", line);
  });

  test("an init container that fails keeps the pod for its logs; --timeout leaves it, start goes on", async () => {
    const pod = (name: string, script: string): string =>
      [
        `apiVersion: v1\nkind: Pod\nmetadata: { name: ${name} }\nspec:`,
        `  terminationGracePeriodSeconds: 0\n  initContainers:`,
        `    - { name: first, image: "${BUSYBOX}", command: [sh, -c, '${script}'] }`,
        `  containers:\n    - { name: main, image: "${BUSYBOX}", command: [sleep, "1000"] }\n`,
      ].join("\n");
    const failed = await hand.apply("bad", pod("bad", "echo no luck; exit 4"));
    expect(failed).toMatchObject({ code: 5, stdout: "" });
    expect(failed.stderr).toMatch(
      /init container first failed \(Error, exit code 4\): `trine logs/,
    );
    expect((await hand.trine("logs", "bad")).stdout).toBe("no luck\n");
    expect((await hand.trine("why", "bad")).stdout).toContain(
      "container main of default/bad: has not been made",
    );

    const gate = join(hand.dir, "gate");
    await mkdir(gate);
    const slow = pod("slow", "until test -e /gate/open; do sleep 0.1; done")
      .replace("name: first,", "name: first, volumeMounts: [{ name: gate, mountPath: /gate }],")
      .replace(
        "  containers:",
        `  volumes: [{ name: gate, hostPath: { path: ${gate} } }]\n  containers:`,
      );
    const file = join(hand.dir, "slow.yaml");
    await writeFile(file, slow);
    const late = await hand.trine("apply", "-f", file, ...hand.cgroup(), "--timeout", "4s");
    expect(late).toMatchObject({ code: 4, stdout: "" });
    expect(late.stderr).toContain("waiting for init container first");
    await writeFile(join(gate, "open"), "");
    expect(await hand.trine("start", "slow")).toMatchObject({
      code: 0,
      stdout: "default/slow started\n",
    });
    expect((await hand.trine("ps")).stdout).toMatch(/slow +container +1\/2 +Running/);
    expect((await hand.trine("rm", "bad", "slow")).code).toBe(0);
  });

  /** Begins it and presses ^C once its progress names the step; again where it was over before it heard of it. */
  async function interruptAt(step: string, argv: readonly string[]): Promise<void> {
    let code = 0;
    for (let left = 5; left > 0 && code === 0; left -= 1) {
      const running = hand.begin(argv);
      await pollUntil(step, { ms: 60_000, everyMs: 5 }, () =>
        running.errors().includes(step) ? true : undefined,
      );
      running.signal("SIGINT");
      ({ code } = await running.ended);
      if (code === 0) await hand.trine("rm", "gone", "--grace", "0");
    }
    expect({ step, code }).toEqual({ step, code: 130 });
  }

  async function expectNothing(): Promise<void> {
    expect((await hand.trine("ps", "-q")).stdout).toBe("");
    expect(await hand.remains()).toEqual([]);
  }

  test("^C at each step of run leaves nothing", async () => {
    const args = ["run", ...hand.cgroup(), "--name", "gone", BUSYBOX, "--", "sleep", "1000"];
    for (const step of [
      ...["creating the sandbox", "preparing volumes"],
      ...["creating container", "starting container"],
    ]) {
      await interruptAt(step, args);
      await expectNothing();
    }
  });

  test("^C at each step of apply leaves nothing of the pod it is at, and pods before it run", async () => {
    const file = join(hand.dir, "gone.yaml");
    const args = ["apply", "-f", file, ...hand.cgroup()];
    await writeFile(file, GONE);
    for (const step of [
      ...["creating the sandbox", "preparing volumes"],
      ...["creating container first", "starting container first", "waiting for init container"],
      ...["creating container helper", "starting container helper"],
      ...["creating container main", "starting container main"],
    ]) {
      await interruptAt(step, args);
      await expectNothing();
    }

    const kept = `apiVersion: v1\nkind: Pod\nmetadata: { name: kept }\nspec: { containers: [MAIN] }\n`;
    const main = `{ name: main, image: "${BUSYBOX}", command: [sleep, "1000"] }`;
    await writeFile(file, `${kept.replace("MAIN", main)}---\n${GONE}`);
    await interruptAt("default/gone: creating container first", args);
    expect((await hand.trine("ps", "-q")).stdout).toBe("default/kept\n");
    expect(await hand.trine("rm", "kept", "--grace", "0")).toMatchObject({ code: 0 });
    expect(await hand.remains()).toEqual([]);

    // A registry that takes connections and never says anything.
    const silent = createServer().listen(0, "127.0.0.1");
    try {
      await once(silent, "listening");
      const { port } = silent.address() as AddressInfo;
      await writeFile(file, GONE.replaceAll(BUSYBOX, `127.0.0.1:${port}/none:1`));
      await interruptAt("pulling image", args);
      await expectNothing();
    } finally {
      silent.close();
    }
  }, 300_000);

  test("a machine: run, console log, volume, pause, stop, start, rm", async () => {
    const volume = join(hand.dir, "of-machine");
    await mkdir(volume);
    await writeFile(join(volume, "file"), "of the node\n");
    const flags = ["--level", "vm", "--name", "vm", "--memory", "128Mi", "-v", `${volume}:/srv`];
    const image = "trine.test/tiny-guest:1";
    expect(await hand.run(...flags, image)).toMatchObject({ code: 0, stdout: "default/vm\n" });
    await pollUntil("the guest is up", { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await hand.trine("logs", "vm")).stdout.includes("TINY-GUEST READY") ? true : undefined,
    );
    const seed = "mkdir /seed; mount -t iso9660 -o ro /dev/vdb /seed; sh /seed/vendor-data";
    const look = await hand.trine("exec", "vm", "--", "sh", "-c", `${seed}; cat /srv/file`);
    expect(look).toMatchObject({ code: 0, stdout: "of the node\n" });
    expect((await hand.trine("ps", "-o", "wide")).stdout).toMatch(/vm +1\/1 +Running .* 128Mi /);
    const inspected = parseAs("inspect", (await hand.trine("inspect", "vm")).stdout) as object;
    expect(inspected).toMatchObject({ level: "vm", machine: { state: "running" } });
    expect((await hand.trine("pause", "vm")).stdout).toBe("default/vm paused\n");
    expect(parseAs("inspect", (await hand.trine("inspect", "vm")).stdout)).toMatchObject({
      machine: { state: "paused" },
    });
    expect((await hand.trine("resume", "vm")).stdout).toBe("default/vm resumed\n");
    expect(await hand.trine("stop", "vm", "--grace", "0")).toMatchObject({ code: 0 });
    expect((await hand.trine("start", "vm")).stdout).toBe("default/vm started\n");
    expect(await hand.trine("rm", "vm", "--grace", "0")).toMatchObject({ code: 0 });
  });

  test("a machine with a container beside it: both are listed, and each is spoken to by its name", async () => {
    expect(await hand.apply("mixed", MIXED)).toMatchObject({ stdout: "default/mixed started\n" });
    expect((await hand.trine("ps", "-o", "wide")).stdout).toMatch(/mixed +vm +2\/3 +Running .*Mi /);
    const inspected = parseAs("inspect", (await hand.trine("inspect", "mixed")).stdout);
    expect(inspected).toMatchObject({
      machine: { state: "running" },
      containers: [
        { name: "first", state: "exited", exitCode: 0 },
        { name: "legacy", state: "running", image: "trine.test/tiny-guest:1" },
        { name: "side", state: "running", image: BUSYBOX },
      ],
    });
    const usage = parseAs("top", (await hand.trine("top", "mixed", "-o", "json")).stdout);
    expect(usage).toMatchObject({ items: [{ container: "legacy" }, { container: "side" }] });
    expect((await hand.trine("logs", "mixed", "-c", "side")).stdout).toBe("beside\n");
    const exec = ["exec", "mixed", "-c", "side", "--", "nosuch"];
    expect(await hand.trine(...exec)).toMatchObject({ code: 127 });
    expect(await hand.trine("exec", "mixed", "-c", "side", "--", "hostname")).toMatchObject({
      ...{ code: 0, stdout: "mixed\n" },
    });
    await pollUntil("the guest is up", { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await hand.trine("logs", "mixed", "-c", "legacy")).stdout.includes("READY")
        ? true
        : undefined,
    );
    expect(await hand.trine("why", "mixed")).toMatchObject({ code: 0 });
    expect(await hand.trine("rm", "mixed")).toMatchObject({ code: 0 });
    expect(await hand.remains()).toEqual([]);
  }, 300_000);

  test("what is wrong with a file is said with its path, and nothing is started", async () => {
    const bad = POD.replace("restartPolicy: Always", "restartPolicy: Never").replace(
      "hostname:",
      "hostnam:",
    );
    const ran = await hand.apply(
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
    expect(await hand.apply("nopvc", POD.replace("0400", "256"))).toMatchObject({
      code: 3,
      stdout: "",
    });
    expect((await hand.trine("ps", "-q")).stdout).toBe("");
    expect(await hand.remains()).toEqual([]);
  });

  test("sysctls, host ports, parts of volumes and images as volumes", async () => {
    const port = await freePort();
    const full = PORTS.replace("HOST_PORT", String(port)).replace("#IMAGE", IMAGE_VOLUME);
    const pod = version === "1.6" ? full.replaceAll(/^.*name: image, .*$/gm, "") : full;
    expect(await hand.apply("ports", pod)).toMatchObject({ code: 0 });
    const seen = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /all/a";
    expect((await hand.trine("exec", "ports", "--", "sh", "-c", seen)).stdout).toBe("81\nb\n");
    // Not by 127.0.0.1: that is the CNI plugin's own to allow.
    const [address] = Object.values(networkInterfaces()).flatMap((all = []) =>
      all.flatMap((each) => (each.internal || each.family !== "IPv4" ? [] : [each.address])),
    );
    expect(await (await fetch(`http://${address}:${port}/`)).text()).toBe("page\n");
    const image = await hand.trine("exec", "ports", "--", "ls", "/image/bin/busybox");
    expect(image.code).toBe(version === "1.6" ? 1 : 0);
    expect(await hand.trine("restart", "ports")).toMatchObject({ code: 0 });
    expect(await hand.trine("rm", "ports")).toMatchObject({ code: 0, stderr: "" });
    if (version !== "1.6") return;
    const old = await hand.apply("old", full);
    expect(old).toMatchObject({ code: 1, stdout: "" });
    expect(old.stderr).toContain("need containerd 2.1");
  });

  test("--wait=false answers at once; a start that fails then is told by why and events", async () => {
    const missing = ["--pull", "Never", "nosuch.test/none:1"];
    const ran = await hand.run("--wait=false", "--name", "bg", ...missing);
    expect(ran).toMatchObject({ code: 0, stdout: "default/bg\n", stderr: "" });
    const why = await pollUntil("why knows", { ms: 30_000 }, async () => {
      const answer = await hand.trine("why", "bg");
      return answer.stdout.includes("its start failed") ? answer : undefined;
    });
    expect(why).toMatchObject({ code: 1 });
    expect(why.stdout).toMatch(/none:1 is not in the store.*\n {2}next: trine start default\/bg/);
    const events = await hand.trine("events", "--since", "5m", "--timeout", "1s", "-o", "json");
    expect(events.code).toBe(0);
    const told = events.stdout.split("\n").find((line) => line.includes('"pod":"bg"'));
    expect(parseAs("event", told ?? "{}")).toMatchObject({
      ...{ type: "StartFailed", namespace: "default", pod: "bg" },
      message: expect.stringContaining("not in the store") as string,
    });
    expect(await hand.trine("start", "bg")).toMatchObject({ code: 3, stdout: "" });
    const good = await hand.run("--wait=false", "--name", "bg2", BUSYBOX, "--", "sleep", "1000");
    expect(good.code).toBe(0);
    await pollUntil("it runs", { ms: 30_000 }, async () =>
      (await hand.trine("why", "bg2")).code === 0 ? true : undefined,
    );
    expect(await hand.trine("rm", "bg", "bg2", "--grace", "0")).toMatchObject({ code: 0 });
  });

  test("rm in the middle of a start, wherever that is, leaves nothing of the pod", async () => {
    for (const afterMs of [0, 150, 300, 450, 600, 750]) {
      await hand.run("--wait=false", "--name", "bg3", BUSYBOX, "--", "sleep", "1000");
      await setTimeout(afterMs);
      expect(await hand.trine("rm", "bg3", "--grace", "0")).toMatchObject({ code: 0 });
      expect((await hand.trine("ps", "-q")).stdout).not.toContain("bg3");
    }
    // Neither does a start that had not looked yet when the pod was taken away.
    await setTimeout(1000);
    expect((await hand.trine("ps", "-q")).stdout).not.toContain("bg3");
  });

  test("a microvm: every verb", async () => {
    const applied = await hand.apply("mv", MICROVM, "--timeout", "5m");
    expect(applied).toMatchObject({ code: 0, stdout: "default/mv started\n" });
    expect((await hand.trine("ps", "-o", "wide")).stdout).toMatch(/mv +microvm +1\/2 +Running/);
    const check = "cat /work/file /keys/token; echo; echo $COLOR; id -u; ls /part";
    expect(await hand.trine("exec", "mv", "-c", "main", "--", "sh", "-c", check)).toMatchObject({
      ...{ code: 0, stdout: "prepared\ns3cret\nblue\n1000\nmade\n", stderr: "" },
    });
    expect(await hand.trine("exec", "mv", "--", "sh", "-c", "exit 9")).toMatchObject({ code: 9 });
    expect(await hand.trine("exec", "mv", "--", "nosuch")).toMatchObject({ code: 127 });
    const piped = hand.begin(["exec", "-i", "mv", "--", "tr", "a-z", "A-Z"], "loud");
    expect(await piped.ended).toMatchObject({ code: 0, stdout: "LOUD" });
    await mkdir(join(hand.dir, "mv/sub"), { recursive: true });
    await writeFile(join(hand.dir, "mv/sub/a b"), "content");
    expect(await hand.trine("cp", join(hand.dir, "mv"), "mv:/tmp")).toMatchObject({ code: 0 });
    const back = join(hand.dir, "mv-back");
    expect(await hand.trine("cp", "mv:/tmp/mv", back)).toMatchObject({ code: 0, stderr: "" });
    expect(await readFile(join(back, "sub/a b"), "utf8")).toBe("content");
    const { port, running: forward } = await forwarded(hand, "mv");
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("page\n");
    forward.signal("SIGTERM");
    expect((await forward.ended).code).toBe(143);
    expect((await hand.trine("logs", "mv", "-c", "main")).stdout).toBe("up\n");
    expect((await hand.trine("pause", "mv")).stdout).toBe("default/mv paused\n");
    expect((await hand.trine("resume", "mv")).stdout).toBe("default/mv resumed\n");
    const usage = parseAs("top", (await hand.trine("top", "mv", "-o", "json")).stdout) as object;
    expect(usage).toMatchObject({ items: [{ pod: "mv", container: "main" }] });
    const inspected = parseAs("inspect", (await hand.trine("inspect", "mv")).stdout) as object;
    expect(inspected).toMatchObject({ level: "microvm", machine: { state: "running" } });
    expect(await hand.trine("why", "mv")).toMatchObject({ code: 0 });
    expect(await hand.trine("stop", "mv", "--grace", "1s")).toMatchObject({ code: 0 });
    expect(await hand.trine("rm", "mv")).toMatchObject({ code: 0 });
    expect(await hand.remains()).toEqual([]);
  }, 400_000);
});
