import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { type BootedGuest, type BootGuestOptions, bootGuest } from "./boot-guest.ts";
import { debianGuestDisk, freePort, runCommand, tinyGuestDisk, withTempDir } from "./index.ts";

let running: BootedGuest | undefined;
afterEach(() => {
  running?.kill();
  running = undefined;
});

function boot(options: BootGuestOptions): BootedGuest {
  running = bootGuest(options);
  return running;
}

async function writeSeed(dir: string, userData: string): Promise<string> {
  const iso = join(dir, "seed.iso");
  await writeFile(join(dir, "user-data"), userData);
  await writeFile(join(dir, "meta-data"), "instance-id: i-1\nlocal-hostname: seeded\n");
  await runCommand("genisoimage", [
    ...["-quiet", "-o", iso, "-V", "cidata", "-J", "-r"],
    ...[join(dir, "user-data"), join(dir, "meta-data")],
  ]);
  return iso;
}

describe("the tiny guest", () => {
  let disk: string;
  beforeAll(async () => {
    disk = await tinyGuestDisk();
  }, 600_000);

  test("comes up by BIOS, answers HTTP, the agent and the console, obeys the power button", () =>
    withTempDir(async (dir) => {
      const httpPort = await freePort();
      const guest = boot({ disk, dir, httpPort });
      const [, ip] = await guest.until(/TINY-GUEST READY ip=(\S+) name=tiny-guest/);
      expect(ip).toBe("10.0.2.15");
      const answer = await fetch(`http://127.0.0.1:${httpPort}/`);
      expect(await answer.text()).toBe("tiny-guest\n");
      await guest.until("tiny# ");
      guest.type("wget -qO- http://127.0.0.1:8081/; echo $((6*7))\n");
      await guest.until(/tiny-guest loopback only\r\n42\r\n/);
      expect(await guest.agent("guest-get-host-name")).toEqual({ "host-name": "tiny-guest" });
      guest.type("flood 1\n");
      await guest.until(`FLOOD ${String(16_383).padStart(10, "0")} `);
      const numbers = [...guest.console.matchAll(/^FLOOD (\d{10}) /gm)].map((line) =>
        Number(line[1]),
      );
      expect(numbers).toEqual(Array.from({ length: 16_384 }, (_, index) => index));
      await guest.qmp("system_powerdown");
      await guest.until("TINY-GUEST POWER BUTTON");
      await guest.until("TINY-GUEST DOWN");
      await guest.untilEnd();
    }));

  test("comes up by UEFI on the pc machine and reads its seed", () =>
    withTempDir(async (dir) => {
      const seed = await writeSeed(dir, "#cloud-config\n");
      const guest = boot({ disk, dir, machine: "pc", uefi: true, seed });
      await guest.until("TINY-GUEST SEED nocloud name=seeded user-data: #cloud-config");
      await guest.until(/TINY-GUEST READY ip=10\.0\.2\.15 name=seeded/);
    }));

  test("panics when told, and the hypervisor hears of it", () =>
    withTempDir(async (dir) => {
      const guest = boot({ disk, dir });
      await guest.until("tiny# ");
      guest.type("panic\n");
      // After a panic QEMU shuts the machine down by default (-action panic=shutdown).
      await guest.untilEnd();
    }));
});

describe("the Debian guest", () => {
  let disk: string;
  beforeAll(async () => {
    disk = await debianGuestDisk();
  }, 1_800_000);

  test(
    "runs its user data, has an agent and a login, and shuts down by the power button",
    () =>
      withTempDir(async (dir) => {
        const userData =
          "#cloud-config\nssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKcXMt key@test]\n" +
          "runcmd:\n  - [sh, -c, 'echo RUNCMD-$(hostname)-$((6*7)) >/dev/console']\n";
        const guest = boot({ disk, dir, memoryMiB: 512, seed: await writeSeed(dir, userData) });
        await guest.until("RUNCMD-seeded-42", 300_000);
        await guest.until("DEBIAN-GUEST READY", 120_000);
        await guest.until("seeded login:", 120_000);
        expect(await guest.agent("guest-get-host-name")).toEqual({ "host-name": "seeded" });
        await guest.qmp("system_powerdown");
        await guest.untilEnd(120_000);
      }),
    600_000,
  );
});
