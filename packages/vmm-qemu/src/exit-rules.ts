import type { ProcessPlan } from "@trine/vmm";

/**
 * Exit status of a machine's task by the reason of QEMU's SHUTDOWN event (qapi/run-state.json,
 * ShutdownCause). Without a noted reason the process decides: 137 after SIGKILL, QEMU's own code else.
 * A reset is none of these where the machine goes on.
 */
export const EXIT_RULES: ProcessPlan["exitRules"] = [
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
