import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VMM_KEY } from "@trine/vmm";
import type { DiskSpec } from "@trine/vmm";
import { describeMachineDriver } from "@trine/vmm/contract";
import type { MachineRig } from "@trine/vmm/contract";
import { machineSpec } from "@trine/vmm/testing";
import { BUTTON_GUEST_GREETING, buttonGuestDisk } from "./button-guest.ts";
import { QemuDriver } from "./qemu-driver.ts";
import { SpawnedProcessHost } from "./testing.ts";

describeMachineDriver("qemu", makeRig);

async function makeRig(): Promise<MachineRig> {
  const dir = await mkdtemp(join(tmpdir(), "trine-vmm-rig-"));
  const path = join(dir, "boot.img");
  await writeFile(path, buttonGuestDisk());
  await mkdir(join(dir, "machine"));
  const host = new SpawnedProcessHost(join(dir, "machine"));
  const root: DiskSpec = {
    ...{ name: "root", bus: "virtio", format: "raw", path, readOnly: false, bootIndex: 1 },
  };
  return {
    host,
    spec: machineSpec({ disks: [root] }),
    brokenSpec: machineSpec({ disks: [{ ...root, format: "qcow2" }] }),
    brokenLog: "Image is not in qcow2 format",
    driver: () => new QemuDriver({ qemuPath: "/usr/bin/qemu-system-x86_64" }),
    guestReady: () => host.said(BUTTON_GUEST_GREETING),
    stall: () => {
      host.stalled = true;
    },
    running: () => host.running,
    ended: () => host.ended(VMM_KEY),
    [Symbol.asyncDispose]: async () => {
      await host.close();
      await rm(dir, { recursive: true });
    },
  };
}
