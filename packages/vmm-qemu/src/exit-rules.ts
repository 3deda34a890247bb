import type { MachineSpec, ProcessPlan } from "@trine/vmm";

type Rules = ProcessPlan["exitRules"];

/**
 * Exit status of a machine's task by the reason of QEMU's SHUTDOWN event (qapi/run-state.json,
 * ShutdownCause). Without a noted reason the process decides: 137 after SIGKILL, QEMU's own code else.
 * A reset is none of these where the machine goes on.
 */
const USUAL: Rules = [
  // The guest powered itself off, by its own will or because it obeyed the power button.
  { reason: "guest-shutdown", exitStatus: 0 },
  // Its kernel died (pvpanic): a failure, so that restartPolicy OnFailure starts it again.
  { reason: "guest-panic", exitStatus: 1 },
  // Booted without a boot loader (`-no-reboot`): its kernel panicked, or it asked for a reset that nobody gives.
  { reason: "guest-reset", exitStatus: 1 },
  // Ended from outside, as SIGKILL and SIGTERM of a process would be.
  { reason: "host-qmp-quit", exitStatus: 137 },
  { reason: "host-signal", exitStatus: 143 },
  // QEMU could not go on.
  { reason: "host-error", exitStatus: 1 },
];

/** For machines that end where others begin anew: its guest rebooted, a watchdog reset it, or somebody did by the monitor. */
const AT_REBOOT: Rules = [
  { reason: "guest-reset", exitStatus: 0 },
  { reason: "host-qmp-system-reset", exitStatus: 0 },
];

/** The first that names the reason holds. */
export function exitRules({ hardware }: Pick<MachineSpec, "hardware">): Rules {
  return hardware?.endsOnReboot === true ? [...AT_REBOOT, ...USUAL.filter(isNoReset)] : USUAL;
}

function isNoReset({ reason }: Rules[number]): boolean {
  return reason !== "guest-reset";
}
