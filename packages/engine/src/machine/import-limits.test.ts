import { expect, test } from "vitest";
import { importLinux, podMounts } from "./import-limits.ts";

const bind = (destination: string): object => ({ destination, type: "bind", source: "/pod" });

test("an import has the volumes it works on, for data alone, and what kubelet and the kernel give", () => {
  const places = ["/volume", "/source", "/work", "/credentials", "/certificates", "/headers/12"];
  const data = podMounts(places.map(bind));
  expect(data.map(({ destination }) => destination)).toEqual(places);
  for (const { options } of data) expect(options).toEqual(["nosuid", "nodev", "noexec"]);
  const files = ["/etc/hosts", "/etc/resolv.conf", "/dev/termination-log"].map(bind);
  expect(podMounts(files)).toEqual(files);
  const kernel = [
    { destination: "/proc", type: "proc" },
    { destination: "/dev", type: "tmpfs" },
    { destination: "/sys/fs/cgroup", type: "cgroup2" },
  ];
  expect(podMounts(kernel)).toEqual(kernel);
});

test.each([
  ...["/etc/ld.so.preload", "/etc", "/etc/ld.so.cache", "/usr", "/lib64/x", "/trine/node", "/"],
  // runc follows a link of the volume: /volume/etc -> /etc.
  ...["/volume/etc/ld.so.preload", "/volume/", "/volume/../etc", "/headers", "/headers/a"],
  ...["/headers/0/x", "/work/x", "//volume", "/dev/shm", "/dev/volume", "/trine/say"],
  ...["/proc", "/proc/self", "/dev", "/sys", "/sys/fs/cgroup", "/run", "/tmp"],
])("a volume of the pod at %s is not there", (destination) => {
  expect(podMounts([bind(destination)])).toEqual([]);
});

test("of devices it has the volumes, at the places of volumes", () => {
  const at = (path: string): object => ({ path, type: "b", major: 7, minor: 1 });
  const paths = ["/dev/volume", "/etc/ld.so.preload", "/dev/source", "/dev/volume/../mem"];
  const { devices } = importLinux({ devices: paths.map(at) });
  expect(devices).toEqual([at("/dev/volume"), at("/dev/source")]);
});

test("its filter is ours, where there is one; twice made it is the same", () => {
  expect(importLinux({})).toEqual({});
  const once = importLinux({ seccomp: { defaultAction: "SCMP_ACT_LOG" } });
  expect(once["seccomp"]).toMatchObject({ defaultAction: "SCMP_ACT_ALLOW" });
  expect(JSON.stringify(once["seccomp"])).toContain('"finit_module"');
  expect(importLinux(once)).toEqual(once);
});
