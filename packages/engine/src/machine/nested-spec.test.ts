import { expect, test } from "vitest";
import { nestedSpec, wantsSharedPids } from "./nested-spec.ts";

const POD = { network: "/run/netns/p", shimPid: 10, nestedPids: [77] };

function spec(pid: string | undefined, without = ""): { linux: object; hostname: string } {
  const namespaces = [
    pid === undefined ? { type: "pid" } : { type: "pid", path: pid },
    { type: "ipc", path: "/proc/10/ns/ipc" },
    { type: "uts", path: "/proc/10/ns/uts" },
    { type: "mount" },
    { type: "cgroup" },
    { type: "network", path: "/proc/1/ns/net" },
  ].filter(({ type }) => type !== without);
  return { linux: { namespaces, cgroupsPath: "/a" }, hostname: "h" };
}

test("names the pod's namespaces, whatever the spec named, and leaves the rest", () => {
  expect(nestedSpec(spec(undefined), POD, "web")).toEqual({
    hostname: "h",
    linux: {
      cgroupsPath: "/a",
      namespaces: [
        { type: "pid" },
        { type: "ipc", path: "/proc/10/ns/ipc" },
        { type: "uts", path: "/proc/10/ns/uts" },
        { type: "mount" },
        { type: "cgroup" },
        { type: "network", path: "/run/netns/p" },
      ],
    },
  });
});

test("a shared PID namespace is that of the pause process, also when it is done again", () => {
  const pod = { ...POD, pausePid: 55 };
  expect(wantsSharedPids(spec("/proc/10/ns/pid"), 10)).toBe(true);
  expect(wantsSharedPids(spec(undefined), 10)).toBe(false);
  const once = nestedSpec(spec("/proc/10/ns/pid"), pod, "web");
  expect(JSON.stringify(once)).toContain("/proc/55/ns/pid");
  expect(nestedSpec(once, pod, "web")).toEqual(once);
});

test("a debug container may join an ordinary container, and nobody else", () => {
  const debug = nestedSpec(spec("/proc/77/ns/pid"), POD, "debug");
  expect(JSON.stringify(debug)).toContain("/proc/77/ns/pid");
  for (const path of ["/proc/1/ns/pid", "/proc/10/ns/pid", "/proc/78/ns/pid", "/proc/77/ns/net"]) {
    expect(() => nestedSpec(spec(path), POD, "debug")).toThrow(/its PID namespace/);
  }
});

test.each([
  ["network", "hostNetwork"],
  ["ipc", "hostIPC"],
  ["uts", "hostNetwork"],
  ["pid", "hostPID"],
])("a container without a %s namespace would have the host's: refused", (type, field) => {
  expect(() => nestedSpec(spec(undefined, type), POD, "web")).toThrow(
    new RegExp(`container web: .*${field}`),
  );
});

test("a mount or user namespace of somebody else is refused", () => {
  for (const type of ["mount", "user"]) {
    const one = spec(undefined, "mount");
    const namespaces = [
      ...(one.linux as { namespaces: object[] }).namespaces,
      { type, path: `/proc/1/ns/${type}` },
    ];
    expect(() => nestedSpec({ linux: { namespaces } }, POD, "web")).toThrow(/proc.1.ns/);
  }
});
