import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import { Events } from "@trine/proto/events-ttrpc";
import { Task } from "@trine/proto/task";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TtrpcClient } from "./index.ts";
import { Bench } from "./testing.ts";

let bench: Bench;
let client: TtrpcClient;

beforeEach(async () => {
  bench = await Bench.open();
  const socket = join(bench.dir, "c.sock");
  const config = join(bench.dir, "config.toml");
  await writeFile(config, configFor(bench.dir, socket));
  const containerd = spawn("containerd", ["--config", config], { stdio: "ignore" });
  bench.defer(async () => {
    containerd.kill();
    if (containerd.exitCode === null && containerd.signalCode === null)
      await once(containerd, "exit");
  });
  client = await pollUntil("containerd's ttrpc socket", { ms: 60_000 }, () =>
    TtrpcClient.connect(`${socket}.ttrpc`).catch(() => undefined),
  );
  bench.defer(() => {
    client.close();
  });
});
afterEach(async () => {
  await bench.close();
});

/** The event service and nothing that touches the host. */
function configFor(dir: string, socket: string): string {
  return `version = 2
root = "${join(dir, "root")}"
state = "${join(dir, "state")}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = "${socket}"
`;
}

test("speaks to containerd's own server", async () => {
  const events = client.service(Events);
  const envelope = {
    namespace: "trine-test",
    topic: "/tasks/oom",
    timestamp: { seconds: 1n, nanos: 0 },
    event: { typeUrl: "containerd.events.TaskOOM", value: new Uint8Array() },
  };
  const options = { timeoutMs: 30_000 };
  for (let call = 0; call < 100; call += 1) await events.forward({ envelope }, options);
  await Promise.all(Array.from({ length: 100 }, () => events.forward({ envelope }, options)));

  const refused = events.forward({ envelope: { ...envelope, topic: "" } }, options);
  await expect(refused).rejects.toBeInstanceOf(TrineError);
  await expect(client.service(Task).state({ id: "x" }, options)).rejects.toMatchObject({
    kind: "unimplemented",
  });
  await events.forward({ envelope }, options);
});
