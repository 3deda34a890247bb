import { create } from "@bufbuild/protobuf";
import type { Message, MessageInitShape } from "@bufbuild/protobuf";
import { ContainerSchema, PodSandboxSchema } from "@trine/proto/nri";
import { expect, test } from "vitest";
import { isView, mountsFor, viewsFor } from "./choose.ts";

const RULES = { handlers: ["", "runc"], byDefault: "on", isMachine: () => false } as const;

type Init<S extends typeof ContainerSchema | typeof PodSandboxSchema> = Exclude<
  MessageInitShape<S>,
  Message
>;

function views(
  container: Init<typeof ContainerSchema> = {},
  pod: Init<typeof PodSandboxSchema> = {},
  rules: Partial<Parameters<typeof viewsFor>[2]> = {},
): string[] {
  return viewsFor(
    create(PodSandboxSchema, { id: "p", ...pod }),
    create(ContainerSchema, {
      name: "main",
      linux: {
        namespaces: [{ type: "pid" }],
        resources: { memory: { limit: { value: 1n << 28n } } },
      },
      ...container,
    }),
    { ...RULES, ...rules },
  );
}

test("a container with a limit has all views, each read-only from lxcfs", () => {
  expect(views()).toHaveLength(8);
  expect(mountsFor("/l", ["/proc/stat"])).toEqual([
    {
      destination: "/proc/stat",
      source: "/l/proc/stat",
      type: "bind",
      options: ["rbind", "ro", "nosuid", "nodev", "noexec"],
    },
  ]);
});

test("a view is one of the files, and nothing else of lxcfs", () => {
  expect(["/proc/stat", "/proc/meminfo"].every(isView)).toBe(true);
  expect(["/proc", "/proc/stat\n/etc", "/etc/passwd", ""].some(isView)).toBe(false);
});

test("limits are a quota, a set of CPUs or memory, of the container or its pod", () => {
  const namespaces = [{ type: "pid" }];
  expect(views({ linux: { namespaces } })).toEqual([]);
  expect(views({ linux: { namespaces, resources: { cpu: { quota: { value: -1n } } } } })).toEqual(
    [],
  );
  expect(
    views({ linux: { namespaces, resources: { cpu: { quota: { value: 50_000n } } } } }),
  ).toHaveLength(8);
  expect(views({ linux: { namespaces, resources: { cpu: { cpus: "0" } } } })).toHaveLength(8);
  const podResources = { memory: { limit: { value: 1n << 28n } } };
  expect(views({ linux: { namespaces } }, { linux: { podResources } })).toHaveLength(8);
});

test("machines, handlers that are not named, and shared PID namespaces have none", () => {
  expect(views({}, { runtimeHandler: "trine-microvm" })).toEqual([]);
  expect(views({}, {}, { isMachine: (id) => id === "p" })).toEqual([]);
  const resources = { memory: { limit: { value: 1n << 28n } } };
  expect(views({ linux: { namespaces: [], resources } })).toEqual([]);
  expect(
    views({ linux: { namespaces: [{ type: "pid", path: "/proc/9/ns/pid" }], resources } }),
  ).toEqual([]);
});

test("the annotation of a container goes before that of its pod, and that before the default", () => {
  const off = { "trine.dev/lxcfs": "off" };
  expect(views({}, { annotations: off })).toEqual([]);
  expect(views({}, { annotations: { ...off, "trine.dev/lxcfs.main": "on" } })).toHaveLength(8);
  expect(views({}, { annotations: { "trine.dev/lxcfs.main": "off" } })).toEqual([]);
  expect(views({}, {}, { byDefault: "off" })).toEqual([]);
  expect(
    views({}, { annotations: { "trine.dev/lxcfs": "on" } }, { byDefault: "off" }),
  ).toHaveLength(8);
});

test("what the pod mounts itself stays", () => {
  const own = { destination: "/proc/stat", type: "bind", source: "/x" };
  const kernels = { destination: "/proc", type: "proc", source: "proc" };
  expect(views({ mounts: [kernels, own] })).toHaveLength(7);
  expect(views({ mounts: [{ ...kernels, type: "bind", source: "/proc" }] })).toEqual([
    "/sys/devices/system/cpu/online",
  ]);
});
