// With lxcfs itself: tests/lxcfs.component.test.ts. Here a program of its name, and a script that answers for it.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { pollUntil } from "@trine/base";
import { ContainerSchema, PodSandboxSchema } from "@trine/proto/nri";
import type { Container, PodSandbox } from "@trine/proto/nri";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ViewHappening } from "./view-teller.ts";
import { Views } from "./views.ts";

const WAIT_MS = 30_000;

let dir: string;
let lxcfs: ChildProcess;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-views-"));
  await symlink("/bin/sleep", join(dir, "lxcfs"));
  lxcfs = spawn(join(dir, "lxcfs"), ["1000"]);
  await once(lxcfs, "spawn");
  await writeFile(join(dir, "pid"), String(lxcfs.pid));
});
afterEach(async () => {
  if (lxcfs.exitCode === null && lxcfs.signalCode === null) {
    const ended = once(lxcfs, "exit");
    lxcfs.kill("SIGKILL");
    await ended;
  }
  await rm(dir, { recursive: true });
});

test(
  "a lxcfs that runs and answers no more is lost, until it answers again",
  { timeout: 60_000 },
  async () => {
    const helper = join(dir, "helper");
    const script = `#!/bin/sh\n[ -e ${dir}/serves ] || { echo silence >&2; exit 1; }\necho "files /proc/stat"\n`;
    await writeFile(helper, script, { mode: 0o755 });
    await writeFile(join(dir, "serves"), "");
    const said: unknown[] = [];
    const note = (fields: object): void => {
      if ("event" in fields) said.push(fields.event);
    };
    const views = new Views({
      ...{ dir, pidFile: join(dir, "pid"), helper, log: { info: note, warn: note } },
      rules: { handlers: [""], byDefault: "on", isMachine: () => false },
    });
    const becomes = (up: boolean): Promise<true> =>
      pollUntil(`up is ${up}`, { ms: WAIT_MS }, () => views.state().up === up || undefined);
    try {
      await becomes(true);
      await rm(join(dir, "serves"));
      await becomes(false);
      expect(lxcfs.exitCode).toBeNull();
      await writeFile(join(dir, "serves"), "");
      await becomes(true);
      // On a busy machine it may be slow once more.
      expect(said.slice(0, 2)).toEqual(["LxcfsUp", "LxcfsLost"]);
      expect(views.state().starts).toBeGreaterThan(1);
    } finally {
      await views.stop();
    }
  },
);

const container = (
  name: string,
  mounts: { source: string; destination: string }[] = [],
): [PodSandbox, Container] => [
  create(PodSandboxSchema, { id: "p", name: "pod", namespace: "ns", uid: "u" }),
  create(ContainerSchema, {
    ...{ id: name, name, pid: 1, mounts },
    linux: {
      namespaces: [{ type: "pid" }],
      resources: { memory: { limit: { value: 1n } } },
    },
  }),
];

test(
  "a container that gets no views is asked less and less often, and its pod is told once",
  { timeout: 60_000 },
  async () => {
    const helper = join(dir, "helper");
    // When each question came, and about whom; `bad` fails for the same reason each time.
    const script = `#!/bin/sh
echo "files /proc/meminfo"
while read -r id pid files; do
  echo "$id $(date +%s%N)" >> ${dir}/asked
  [ "$id" = bad ] && echo "bad timed out" || echo "$id ok"
done
`;
    await writeFile(helper, script, { mode: 0o755 });
    await writeFile(join(dir, "asked"), "");
    const happenings: ViewHappening[] = [];
    const retryMs = 100;
    const views = new Views({
      ...{ dir, pidFile: join(dir, "pid"), helper, retryMs },
      log: { info: () => undefined, warn: () => undefined },
      rules: { handlers: [""], byDefault: "on", isMachine: () => false },
      onHappening: (happening) => happenings.push(happening),
    });
    const askedMs = async (id: string): Promise<number[]> =>
      (await readFile(join(dir, "asked"), "utf8"))
        .split("\n")
        .filter((line) => line.startsWith(`${id} `))
        .map((line) => Number(line.split(" ")[1]) / 1e6);
    try {
      await pollUntil("lxcfs serves", { ms: WAIT_MS }, () => views.state().up || undefined);
      // Both are limited for the first time.
      for (const name of ["bad", "good"]) views.seen(...container(name), true);
      const times = await pollUntil("five questions", { ms: WAIT_MS }, async () => {
        const asked = await askedMs("bad");
        return asked.length >= 5 ? asked : undefined;
      });
      const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
      for (const [index, gap] of gaps.entries()) {
        expect(gap).toBeGreaterThanOrEqual(retryMs * 2 ** index);
      }
      expect(await askedMs("good")).toHaveLength(1);
      expect(views.state()).toMatchObject({ containers: 1, healed: 1 });
      const pod = { namespace: "ns", name: "pod", uid: "u" };
      expect(happenings).toHaveLength(2);
      expect(happenings).toContainEqual({
        ...{ pod, type: "Warning", reason: "LxcfsFailed" },
        message: "container bad cannot be given its views of /proc: timed out; it is tried again",
      });
      expect(happenings).toContainEqual({
        ...{ pod, type: "Normal", reason: "LxcfsViews" },
        message: "container good sees its own limits in /proc again",
      });

      lxcfs.kill("SIGKILL");
      await pollUntil("its pod is told", { ms: WAIT_MS }, () => happenings[2]);
      expect(happenings.slice(2)).toMatchObject([{ pod, type: "Warning", reason: "LxcfsLost" }]);
    } finally {
      await views.stop();
    }
  },
);

test(
  "what is found again is told of where it was without its views, and only there",
  { timeout: 60_000 },
  async () => {
    const helper = join(dir, "helper");
    const script = `#!/bin/sh
echo "files /proc/meminfo"
while read -r id pid files; do echo "$id ok"; done
`;
    await writeFile(helper, script, { mode: 0o755 });
    const happenings: string[] = [];
    const options = {
      ...{ dir, pidFile: join(dir, "pid"), helper },
      log: { info: () => undefined, warn: () => undefined },
      rules: { handlers: [""], byDefault: "on" as const, isMachine: () => false },
      onHappening: ({ reason, message }: ViewHappening) =>
        happenings.push(`${reason} ${message.split(" ")[1] ?? ""}`),
    };
    const found = (views: Views, name: string): void => {
      const mounts = [{ source: `${dir}/proc/meminfo`, destination: "/proc/meminfo" }];
      views.seen(...container(name, mounts));
    };
    const healed = (views: Views, count: number): Promise<true> =>
      pollUntil("they have their views", { ms: WAIT_MS }, () =>
        views.state().healed >= count ? true : undefined,
      );

    const views = new Views(options);
    try {
      found(views, "again");
      views.seen(...container("healed-by-another-daemon"));
      await healed(views, 2);
      expect(happenings).toEqual([]);
      views.seen(...container("first"), true);
      await healed(views, 3);
      expect(happenings).toEqual(["LxcfsViews first"]);
    } finally {
      await views.stop();
    }

    // The next daemon comes while lxcfs is away.
    happenings.length = 0;
    await rm(join(dir, "pid"));
    const next = new Views(options);
    try {
      found(next, "again");
      await writeFile(join(dir, "pid"), String(lxcfs.pid));
      await healed(next, 1);
      expect(happenings).toEqual(["LxcfsViews again"]);
    } finally {
      await next.stop();
    }
  },
);
