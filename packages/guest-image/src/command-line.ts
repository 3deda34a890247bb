/**
 * What a guest's kernel is started with. Nothing here weakens it: mitigations stay on. A machine with a serial
 * console adds `8250.nr_uarts=1 console=ttyS0`, one of QEMU's microvm kind `tsc_early_khz=…`.
 */
export const COMMAND_LINE = [
  "quiet loglevel=0",
  // A guest that panics ends at once, and its VMM says so.
  "panic=-1 reboot=t",
  // Of no use in a virtual machine, or measured by every boot again.
  "tsc=reliable no_timer_check nowatchdog 8250.nr_uarts=0 pci=noaer raid=noautodetect",
  "cryptomgr.notests random.trust_cpu=on audit=0 selinux=0 apparmor=0",
  "cgroup_no_v1=all",
  // Memory that is plugged in takes only what can be moved out of it, where there is enough beside it: it is given back.
  "memory_hotplug.online_policy=auto-movable",
].join(" ");
