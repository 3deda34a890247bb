// A guest in a bare QEMU, with no shim and no daemon: its agent's link, and disks.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AgentClient } from "@trine/guest-link";
import { HostLink } from "./host-link.ts";

export const BOOT_MS = 180_000;
export const ANSWER_MS = 60_000;

interface BareDisk {
  readonly path: string;
  readonly serial: string;
  readonly readOnly?: boolean;
}

interface BareKernel {
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
}

export class BareGuest implements AsyncDisposable {
  readonly link: HostLink;
  readonly agent: AgentClient;
  readonly #dir: string;
  readonly #vmm: ChildProcess;

  private constructor(dir: string, vmm: ChildProcess, link: HostLink) {
    this.#dir = dir;
    this.#vmm = vmm;
    this.link = link;
    this.agent = new AgentClient(join(dir, "guest.sock"));
  }

  /** Resolves when its agent has answered the link. */
  static async boot(
    { kernel, initrd, cmdline }: BareKernel,
    disks: readonly BareDisk[],
  ): Promise<BareGuest> {
    const dir = await mkdtemp(join(tmpdir(), "trine-bare-"));
    const port = join(dir, "port");
    const args = [
      ...["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg", "-display", "none"],
      ...["-nodefaults", "-no-reboot", "-machine", "q35", "-m", "256"],
      ...["-kernel", kernel, "-initrd", initrd, "-append", cmdline],
      ...["-device", "virtio-serial-pci"],
      ...["-chardev", `socket,id=agent,path=${port},server=on,wait=off`],
      ...["-device", "virtserialport,chardev=agent,name=trine.agent"],
      ...["-device", "vmgenid,guid=auto"],
      ...disks.flatMap(diskArguments),
    ];
    const vmm = spawn("setpriv", args, { stdio: ["ignore", "inherit", "inherit"] });
    const link = await HostLink.connect(port, ANSWER_MS);
    await link.reset(BOOT_MS);
    await link.listen(join(dir, "guest.sock"));
    return new BareGuest(dir, vmm, link);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.agent.close();
    await this.link[Symbol.asyncDispose]();
    this.#vmm.kill("SIGKILL");
    if (this.#vmm.exitCode === null && this.#vmm.signalCode === null) await once(this.#vmm, "exit");
    await rm(this.#dir, { recursive: true });
  }
}

function diskArguments({ path, serial, readOnly = false }: BareDisk): string[] {
  const how = `readonly=${readOnly ? "on" : "off"}`;
  return [
    ...["-drive", `if=none,id=${serial},format=raw,${how},file=${path}`],
    ...["-device", `virtio-blk-pci,drive=${serial},serial=${serial}`],
  ];
}
