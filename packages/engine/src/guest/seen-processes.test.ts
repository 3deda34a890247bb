import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { pino } from "pino";
import { beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../json-shape.ts";
import type { PodContext } from "../pod-context.ts";
import type { ContainerRecord } from "../pod-document.ts";
import { processesOf } from "./seen-processes.ts";

const PATH = { type: "pid", path: "/proc/7/ns/pid" };
let file = "";

beforeAll(async () => {
  file = join(await mkdtemp(join(tmpdir(), "seen-processes-")), "containerd");
  await writeFile(file, "unix:///run/c.sock\n");
});

/** Of container `new` beside container `app`, as CRI was asked. */
function ask(
  options: JsonObject | TrineError,
  pid: JsonObject = PATH,
): Promise<string | undefined> {
  const asked: unknown[] = [];
  const pod = {
    deps: {
      criConfig: (container: unknown) => {
        asked.push(container);
        if (options instanceof TrineError) return Promise.reject(options);
        return Promise.resolve({ linux: { security_context: { namespace_options: options } } });
      },
    },
    files: { containerd: file },
    identity: { namespace: "k8s.io" },
    log: pino({ level: "silent" }),
  } as unknown as PodContext;
  const containers = { app: {} as ContainerRecord };
  const spec = { linux: { namespaces: [pid] } };
  return processesOf(pod, { containers }, { id: "new", spec }).then((answer) => {
    const place = { containerd: "/run/c.sock", namespace: "k8s.io", id: "new" };
    expect(asked).toEqual(pid === PATH ? [place] : []);
    return answer;
  });
}

test.each([3, "TARGET"])("a container with mode %s sees its target's", async (pid) => {
  expect(await ask({ pid, target_id: "app" })).toBe("app");
});

test("a container of shared process ids sees all of the pod's", async () => {
  expect(await ask({})).toBeUndefined();
});

test("containerd is not asked about a container with process ids of its own", async () => {
  expect(await ask({ pid: 3, target_id: "app" }, { type: "pid" })).toBeUndefined();
});

test.each(["unavailable", "timeout", "notFound"] as const)(
  "a containerd that is busy (%s) takes no container from a pod that shares its process ids",
  async (kind) => {
    expect(await ask(new TrineError(kind, "busy"))).toBeUndefined();
    await expect(ask(new TrineError("internal", "what?"))).rejects.toThrow("what?");
  },
);

test("a target that is not in the pod is refused by name", async () => {
  const asked = ask({ pid: 3, target_id: "gone" });
  await expect(asked).rejects.toThrow('container "gone", which this pod does not have');
});
