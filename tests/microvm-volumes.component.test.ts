// Volumes as kubelet prepares them on the node: the same containers under runc and in a microvm.
import { mkdir, writeFile, chmod, chown, rm } from "node:fs/promises";
import { join } from "node:path";
import { MountPropagation } from "@trine/proto/cri/api";
import { runCommand } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { PodPair } from "./pod-pair.ts";
import type { Both } from "./pod-pair.ts";

let node: TrineNode;
let image: string;
let pair: PodPair;
let dir: string;
const mounted: string[] = [];

async function mount(...args: string[]): Promise<void> {
  await runCommand("mount", args);
  mounted.push(args.at(-1) ?? "");
}

async function unmount(place: string): Promise<void> {
  await runCommand("umount", [place]);
  mounted.splice(mounted.indexOf(place), 1);
}

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
  dir = join(node.dir, "volumes");
  const config = { linux: { securityContext: { privileged: true } } };
  pair = await PodPair.start(node, image, { name: "volumes", config });
}, 1_800_000);

afterAll(async () => {
  await pair.remove();
  for (const place of [...mounted].reverse()) await unmount(place);
  await rm(dir, { recursive: true, force: true });
  expect(await node.stop()).toEqual([]);
});

function same({ runc, microvm }: Both<string>): string {
  expect(microvm).toBe(runc);
  return microvm;
}

test("fsGroup's directory, a subPath, a file, a directory that is made", async () => {
  const group = join(dir, "group");
  await mkdir(join(group, "sub"), { recursive: true });
  await writeFile(join(group, "sub/file"), "in sub\n");
  await chown(group, 0, 4242);
  await chmod(group, 0o2770);
  const mounts = [
    { containerPath: "/d", hostPath: group },
    { containerPath: "/sub", hostPath: join(group, "sub"), readonly: true },
    { containerPath: "/one/file", hostPath: join(group, "sub/file") },
    { containerPath: "/new", hostPath: join(dir, "made-for-it") },
  ];
  const securityContext = { runAsUser: { value: 1000n }, supplementalGroups: [4242n] };
  const script = [
    "id; stat -c '%a %u %g' /d; touch /d/$$; stat -c '%a %u %g' /d/$$; rm /d/$$; cat /d/sub/file",
    "ls /sub; touch /sub/x 2>&1; cat /one/file; ls /one; ls /new | wc -l",
  ].join("\n");
  const seen = same(await pair.script({ mounts, linux: { securityContext } }, script));
  expect(seen).toContain("2770 0 4242\n644 1000 4242\nin sub\n");
}, 120_000);

test("an emptyDir in memory is the node's, and its size limit holds; so does that of /dev/shm", async () => {
  const memory = join(dir, "memory");
  await mkdir(memory, { recursive: true });
  await mount("-t", "tmpfs", "-o", "size=1m", "none", memory);
  const script = [
    "stat -f -c '%b %S %T' /m | awk '{print $1*$2}'",
    "dd if=/dev/zero of=/m/f-$$ bs=64k count=32 2>&1 | head -n 1; rm /m/f-$$",
    `awk '$5=="/dev/shm"{print $6}' /proc/self/mountinfo; stat -f -c '%b %S' /dev/shm`,
    "dd if=/dev/zero of=/dev/shm/f bs=1M count=70 2>&1 | head -n 1",
  ].join("\n");
  const mounts = [{ containerPath: "/m", hostPath: memory }];
  // One after the other: both fill it.
  const runc = await pair.runc.sh(await pair.runc.run({ mounts }), script);
  const microvm = await pair.microvm.sh(await pair.microvm.run({ mounts }), script);
  expect(microvm.replaceAll(/f-\d+/g, "f")).toBe(runc.replaceAll(/f-\d+/g, "f"));
  expect(runc).toMatch(/^1048576\n.*No space left/);
}, 120_000);

test("HostToContainer brings later mounts of the node, the default does not, Bidirectional is refused", async () => {
  const shared = join(dir, "shared");
  await mkdir(join(shared, "before"), { recursive: true });
  await mkdir(join(shared, "later"));
  await mount("--bind", shared, shared);
  await mount("--make-shared", shared).finally(() => mounted.pop());
  await mount("-t", "tmpfs", "none", join(shared, "before"));
  await writeFile(join(shared, "before/x"), "before\n");
  const propagation = MountPropagation.PROPAGATION_HOST_TO_CONTAINER;
  const mounts = [
    { containerPath: "/follows", hostPath: shared, propagation },
    { containerPath: "/private", hostPath: shared },
  ];
  const look = "cat /follows/before/x /private/before/x; cat /follows/later/y; ls /private/later";
  const [runc, microvm] = [await pair.runc.run({ mounts }), await pair.microvm.run({ mounts })];
  const both = async (): Promise<Both<string>> => ({
    runc: await pair.runc.sh(runc, look),
    microvm: await pair.microvm.sh(microvm, look),
  });
  expect(same(await both())).toMatch(/^before\nbefore\ncat: .*y/);
  await mount("-t", "tmpfs", "none", join(shared, "later"));
  await writeFile(join(shared, "later/y"), "later\n");
  expect(same(await both())).toBe("before\nbefore\nlater\n");
  await unmount(join(shared, "later"));
  expect(same(await both())).toMatch(/^before\nbefore\ncat: .*y/);

  const back = MountPropagation.PROPAGATION_BIDIRECTIONAL;
  const privileged = { securityContext: { privileged: true } };
  await expect(
    pair.microvm.run({
      mounts: [{ containerPath: "/b", hostPath: shared, propagation: back }],
      linux: privileged,
    }),
  ).rejects.toThrow(/Bidirectional.*cannot leave it/);
}, 120_000);

test("an image as a volume, read-only", async () => {
  const mounts = [{ containerPath: "/img", image: { image }, readonly: true }];
  const script = "ls /img /img/bin | wc -l; cmp /bin/busybox /img/bin/busybox; touch /img/x 2>&1";
  expect(same(await pair.script({ mounts }, script))).toContain("Read-only file system");
}, 120_000);

test("sockets and pipes of the node are refused with the reason", async () => {
  const mounts = [{ containerPath: "/s", hostPath: node.containerd.socket }];
  await expect(pair.microvm.run({ mounts })).rejects.toThrow(/is a socket, pipe or device/);
}, 120_000);
