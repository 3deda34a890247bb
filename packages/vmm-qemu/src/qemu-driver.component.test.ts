import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VMM_KEY } from "@trine/vmm";
import type { DiskSpec } from "@trine/vmm";
import { describeMachineDriver } from "@trine/vmm/contract";
import type { MachineRig } from "@trine/vmm/contract";
import { lightSpec, machineSpec } from "@trine/vmm/testing";
import { BUTTON_GUEST_GREETING, buttonGuestDisk } from "./button-guest.ts";
import { QemuDriver } from "./qemu-driver.ts";
import { JAIL_UID, SpawnedProcessHost } from "./testing.ts";

describeMachineDriver("qemu", makeRig);

async function makeRig(): Promise<MachineRig> {
  const dir = await mkdtemp(join(tmpdir(), "trine-vmm-rig-"));
  const path = join(dir, "boot.img");
  await writeFile(path, buttonGuestDisk());
  for (const name of ["machine", "jail", "slots"]) await mkdir(join(dir, name));
  await chown(join(dir, "machine"), JAIL_UID, JAIL_UID);
  const images = [join(dir, "slots/first.img"), join(dir, "slots/second.img")] as const;
  for (const image of images) {
    await writeFile(image, new Uint8Array(1024 * 1024));
    await chown(image, JAIL_UID, JAIL_UID);
  }
  const host = new SpawnedProcessHost(join(dir, "machine"), { jail: join(dir, "jail") });
  const root: DiskSpec = {
    ...{ name: "root", bus: "virtio", format: "raw", path, readOnly: false, bootIndex: 1 },
  };
  return {
    host,
    spec: machineSpec({ disks: [root] }),
    brokenSpec: machineSpec({ disks: [{ ...root, format: "qcow2" }] }),
    brokenLog: "Image is not in qcow2 format",
    lightSpec: lightSpec(dir, { disks: [{ ...root, readOnly: true }] }),
    images,
    statePath: join(dir, "template.state"),
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
