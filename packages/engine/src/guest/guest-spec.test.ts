import { describe, expect, test } from "vitest";
import { guestSpec } from "./guest-spec.ts";
import type { GuestSpec } from "./guest-spec.ts";
import type { JsonObject } from "../json-shape.ts";

const SANDBOX = "5a4d";
const LIMITS = [{ type: "RLIMIT_NOFILE", soft: 1, hard: 2 }];
const ALL_DEVICES = [{ allow: true, access: "rwm" }];

function rewrite(spec: JsonObject, pidsOf?: string): GuestSpec {
  return guestSpec(spec, { id: "c1", sandboxId: SANDBOX, limits: LIMITS, pidsOf });
}

function bind(destination: string, source: string, ...options: string[]): JsonObject {
  return { destination, type: "bind", source, options: ["rbind", ...options] };
}

describe("mounts", () => {
  test("of host paths come through the share, in their order, without propagation", () => {
    const { spec, mounts } = rewrite({
      mounts: [
        { destination: "/proc", type: "proc", source: "proc", options: ["nosuid"] },
        bind("/etc/hosts", "/var/lib/kubelet/hosts", "rprivate", "rw"),
        bind("/secret", "/var/lib/kubelet/secret", "rslave", "ro"),
      ],
    });
    expect(mounts).toEqual([
      {
        ...{ name: "m0", source: "/var/lib/kubelet/hosts" },
        ...{ readOnly: false, readOnlyBelow: false, follows: false },
      },
      {
        ...{ name: "m1", source: "/var/lib/kubelet/secret" },
        ...{ readOnly: true, readOnlyBelow: false, follows: true },
      },
    ]);
    expect(spec["mounts"]).toEqual([
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid"] },
      {
        destination: "/etc/hosts",
        type: "bind",
        source: "/run/trine/share/c1/m0",
        options: ["rbind", "rw"],
      },
      {
        destination: "/secret",
        type: "bind",
        source: "/run/trine/share/c1/m1",
        options: ["rbind", "ro"],
      },
    ]);
  });

  test("that are read-only all the way down are so on the node too", () => {
    const { spec, mounts } = rewrite({ mounts: [bind("/v", "/x", "rprivate", "rro")] });
    expect(mounts).toMatchObject([{ readOnly: true, readOnlyBelow: true }]);
    expect(spec["mounts"]).toMatchObject([{ options: ["rbind", "rro"] }]);
  });

  test.each([
    [`/run/containerd/sandboxes/${SANDBOX}/shm`, "/run/trine/shm"],
    [`/var/run/containers/storage/overlay-containers/${SANDBOX}/userdata/shm`, "/run/trine/shm"],
    ["/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/shm", "/run/trine/share/c1/m0"],
  ])("of %s on /dev/shm are %s", (source, wanted) => {
    const { spec } = rewrite({ mounts: [bind("/dev/shm", source)] });
    expect(spec["mounts"]).toMatchObject([{ source: wanted }]);
  });

  test.each([
    [bind("/v", "/x", "rshared"), /mount on \/v.*Bidirectional/],
    [bind("/v", "/x", "shared"), /Bidirectional/],
    [{ destination: "/v", type: "nfs", source: "h:/x" }, /type nfs on \/v is not supported/],
    [bind("/v", "x"), /no absolute source/],
    [{ destination: "/v", options: ["bind"] }, /no absolute source/],
  ])("that a guest cannot have are refused: %j", (mount, reason) => {
    expect(() => rewrite({ mounts: [mount] })).toThrow(reason);
  });

  test("are limited in number", () => {
    const mounts = Array.from({ length: 1025 }, () => bind("/v", "/x"));
    expect(() => rewrite({ mounts })).toThrow(/1025 mounts/);
  });
});

describe("namespaces", () => {
  const namespacesOf = (...namespaces: JsonObject[]): unknown =>
    (rewrite({ linux: { namespaces } }).spec["linux"] as JsonObject)["namespaces"];

  test("of the host become the pod's own in the guest", () => {
    const host = ["ipc", "uts", "network"].map((type) => ({ type, path: `/proc/1/ns/${type}` }));
    expect(namespacesOf(...host, { type: "mount" }, { type: "pid" })).toEqual([
      { type: "mount" },
      { type: "pid" },
    ]);
  });

  test("shared process ids are the pod's", () => {
    expect(namespacesOf({ type: "pid", path: "/proc/7/ns/pid" })).toEqual([
      { type: "pid", path: "/run/trine/pod/ns/pid" },
    ]);
  });

  test("process ids of another container are that container's", () => {
    const linux = { namespaces: [{ type: "pid", path: "/proc/7/ns/pid" }] };
    expect(rewrite({ linux }, "c0").spec["linux"]).toMatchObject({
      namespaces: [{ type: "pid", path: "/run/trine/container/c0/ns/pid" }],
    });
  });

  test.each(["user", "time"])("of kind %s are refused", (type) => {
    expect(() => namespacesOf({ type })).toThrow(`${type} namespaces are not supported`);
  });
});

describe("devices", () => {
  const devicesOf = (devices: JsonObject[], rules: JsonObject[] = []): unknown => {
    const linux = { devices, resources: { devices: rules } };
    return (rewrite({ linux }).spec["linux"] as JsonObject)["devices"];
  };
  const fuse = { path: "/dev/fuse", type: "c", major: 10, minor: 229 };
  const disk = { path: "/dev/sda", type: "b", major: 8, minor: 0 };

  test("that every kernel has are kept", () => {
    expect(devicesOf([fuse])).toEqual([fuse]);
  });

  test("of the node are refused by name, and left out for a privileged container", () => {
    const kmsg = { path: "/dev/kmsg", type: "c", major: 1, minor: 11 };
    const some = [{ allow: true, type: "c", major: 1, minor: 11 }];
    expect(() => devicesOf([fuse, kmsg], some)).toThrow(/device \/dev\/kmsg: character devices/);
    expect(devicesOf([fuse, kmsg, disk], ALL_DEVICES)).toEqual([fuse]);
  });

  const volumesOf = (device: JsonObject, rules: JsonObject[]): unknown =>
    rewrite({ linux: { devices: [fuse, device], resources: { devices: rules } } }).volumes;
  const rule = (access: string, allow = true): JsonObject => ({
    ...{ allow, access },
    ...{ type: "b", major: 8, minor: 0 },
  });

  test("of kind block become disks, with the access their rules give", () => {
    const volume = { path: "/dev/sda", major: 8, minor: 0, mode: 0o660, uid: 0, gid: 0 };
    const owned = { ...disk, fileMode: 0o60600, uid: 5, gid: 6 };
    expect(volumesOf(owned, [rule("rwm")])).toEqual([
      { ...volume, mode: 0o600, uid: 5, gid: 6, access: "rwm", readOnly: false },
    ]);
    const readOnly = { access: "r", readOnly: true };
    expect(volumesOf(disk, [rule("r")])).toEqual([{ ...volume, ...readOnly }]);
    expect(volumesOf(disk, [rule("rw"), rule("w", false)])).toEqual([{ ...volume, ...readOnly }]);
    expect(volumesOf(disk, [])).toEqual([{ ...volume, access: "m", readOnly: true }]);
    expect(
      volumesOf(disk, [{ allow: true, access: "rw", type: "b", major: 8, minor: -1 }]),
    ).toEqual([{ ...volume, access: "rw", readOnly: false }]);
  });

  test.each([{ major: -1 }, { minor: 2 ** 20 }, { major: "8" }, { path: "dev/sda" }, { path: 3 }])(
    "of kind block that are none are refused: %j",
    (wrong) => {
      expect(() => volumesOf({ ...disk, ...wrong }, [])).toThrow(
        /not a path and a device's number/,
      );
    },
  );

  test("of kind block leave no rule behind: their numbers are others' in the guest", () => {
    const deny = { allow: false, access: "rwm" };
    const resources = { memory: { limit: 5 }, devices: [deny, rule("rw")] };
    const { spec } = rewrite({ linux: { devices: [disk], resources } });
    expect((spec["linux"] as JsonObject)["resources"]).toEqual({ ...resources, devices: [deny] });
  });
});

test("what only the host has is left out, the rest is passed on", () => {
  const process = { args: ["sh"], cwd: "/", user: { uid: 1 } };
  const { spec } = rewrite({
    ociVersion: "1.1.0",
    process,
    root: { path: "/run/containerd/rootfs", readonly: true },
    hostname: "web",
    annotations: { a: "b" },
    hooks: { prestart: [] },
    linux: {
      cgroupsPath: "/kubepods/x",
      mountLabel: "l",
      resources: { memory: { limit: 5 } },
      sysctl: { "net.x": "1" },
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
      seccomp: { defaultAction: "SCMP_ACT_ALLOW" },
    },
  });
  expect(JSON.parse(JSON.stringify(spec))).toEqual({
    ociVersion: "1.1.0",
    process: { ...process, rlimits: LIMITS },
    root: { path: "/run/trine/share/c1/rootfs", readonly: true },
    hostname: "web",
    mounts: [],
    linux: {
      namespaces: [],
      devices: [],
      resources: { memory: { limit: 5 } },
      sysctl: { "net.x": "1" },
      maskedPaths: ["/proc/kcore"],
      readonlyPaths: ["/proc/sys"],
      seccomp: { defaultAction: "SCMP_ACT_ALLOW" },
    },
  });
});

test.each([{}, { mounts: 1, linux: [] }, { linux: { namespaces: {}, devices: "x" }, root: null }])(
  "a specification of another shape is taken as empty: %j",
  (spec) => {
    expect(rewrite(spec).spec["mounts"]).toEqual([]);
  },
);

test("limits that the specification names come before those of the node", () => {
  const own = [{ type: "RLIMIT_NOFILE", soft: 5, hard: 6 }];
  expect(rewrite({ process: { rlimits: own } }).spec["process"]).toEqual({ rlimits: own });
});

test("hooks are refused, not forgotten", () => {
  const hooks = { createRuntime: [{ path: "/usr/bin/hook" }] };
  expect(() => rewrite({ hooks })).toThrow(/hook createRuntime \/usr\/bin\/hook: .*cannot reach/);
});

test("huge pages are refused by their size; sizes of which nothing is asked are passed by", () => {
  const asked = (limit: unknown): unknown => {
    const hugepageLimits = [
      { pageSize: "1GB", limit: 0 },
      { pageSize: "2MB", limit },
    ];
    return rewrite({ linux: { resources: { hugepageLimits } } }).spec["linux"];
  };
  for (const some of [2 ** 21, 2n ** 60n]) {
    expect(() => asked(some)).toThrow(/huge pages of 2MB are not supported in a microVM/);
  }
  for (const none of [0, undefined, "x"]) expect(asked(none)).toBeTypeOf("object");
});
