import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GUEST_LINK_CHANNEL } from "@trine/vmm";
import type { BootSpec, ByteChannel, ProcessHost } from "@trine/vmm";
import { microvmGuest } from "./microvm-guest.ts";
import { runCommand } from "./run-command.ts";

const BUSYBOX = "/bin/busybox";

/** Runs each line that comes over the guest link as a shell command and answers what it says, then "=STATUS". */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </etc/trine/modules
for name in /sys/class/virtio-ports/*/name; do
  if grep -qx trine.agent "$name"; then port=\${name%/name}; port=/dev/\${port##*/}; fi
done
exec 3<>"$port"
exec <&3 >&3 2>&3
echo =READY
while read -r line; do
  eval "$line"
  echo "=$?"
done
`;

/** The guest image's kernel and modules with a shell as their agent, made in `dir`. */
export async function shellGuest(dir: string): Promise<BootSpec & { readonly kind: "direct" }> {
  const { kernel, initrd, cmdline } = await microvmGuest({ init: BUSYBOX });
  const tree = join(dir, "initramfs");
  await mkdir(join(tree, "bin"), { recursive: true });
  await copyFile(BUSYBOX, join(tree, "bin/busybox"));
  await writeFile(join(tree, "init"), INIT);
  await chmod(join(tree, "init"), 0o755);
  const [added, whole] = [join(dir, "added.cpio"), join(dir, "initrd.cpio")];
  const pack = 'find bin init | "$0" cpio -o -H newc >"$1"';
  await runCommand("sh", ["-c", pack, BUSYBOX, added], { cwd: tree });
  // The kernel unpacks one archive after the other; the later init stays.
  await writeFile(whole, Buffer.concat([await readFile(initrd), await readFile(added)]));
  // Level 1 is quiet but for a panic, of which level 0 says nothing either. Room to grow lies above 4 GiB, for which the kernel would set 64 MiB aside.
  const told = `${cmdline} 8250.nr_uarts=1 console=ttyS0 loglevel=1 swiotlb=noforce`;
  return { kind: "direct", kernel, initrd: whole, cmdline: told };
}

/** The shell in one guest. */
export class GuestShell {
  readonly #channel: ByteChannel;
  #heard = "";

  constructor(host: ProcessHost) {
    this.#channel = host.channel(GUEST_LINK_CHANNEL);
  }

  async ready(signal: AbortSignal): Promise<void> {
    await this.#until(/^=READY$/m, signal);
  }

  /** What the command says; rejects when it fails. */
  async run(command: string, signal: AbortSignal): Promise<string> {
    await this.#channel.write(new TextEncoder().encode(`${command}\n`));
    const { said, status } = await this.#until(/=(\d+)\n/, signal);
    if (status !== "0") throw new Error(`${command}: status ${status}: ${said}`);
    return said.trim();
  }

  async #until(end: RegExp, signal: AbortSignal): Promise<{ said: string; status: string }> {
    for (;;) {
      const found = end.exec(this.#heard);
      if (found !== null) {
        const said = this.#heard.slice(0, found.index);
        this.#heard = this.#heard.slice(found.index + found[0].length);
        return { said, status: found[1] ?? "" };
      }
      const bytes = await this.#channel.read(signal);
      if (bytes === undefined) throw new Error(`the guest is gone; it said ${this.#heard}`);
      this.#heard += new TextDecoder().decode(bytes);
    }
  }
}
