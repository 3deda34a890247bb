/** Of the agent's program on the seed's disk. */
export const AGENT_FILE = "trine-agent";

/** A file system of its own: the guest's /run may forbid programs, and its root may be read-only. */
const DIR = "/run/trine/agent";
/** More than the program, with the file system's own. */
const SIZE = "16m";
const UNIT = [
  "--unit=trine-agent",
  "--property=DefaultDependencies=no",
  // Its programs' control groups are its own; they hold nothing that a shutdown would have to wait for.
  ...[
    "Delegate=yes",
    "KillSignal=SIGKILL",
    "Restart=always",
    "RestartSec=1",
    "StartLimitIntervalSec=0",
  ].map((property) => `--property=${property}`),
];

/**
 * Vendor data that starts our agent from the seed's disk with this label, at every boot; nothing of it stays on the guest's
 * disk. What does not work is said in the guest's kernel log and keeps nothing else from coming up.
 */
export function agentHook(volumeLabel: string): string {
  return [
    "#cloud-boothook",
    "#!/bin/sh",
    "# Starts the agent of the pod.",
    'say() { echo "trine: the agent does not start: $*" >/dev/kmsg; exit 1; }',
    `[ ! -e ${DIR}/${AGENT_FILE} ] || exit 0`,
    `mkdir -p ${DIR}/seed && mount -t tmpfs -o mode=0700,size=${SIZE} trine-agent ${DIR} && mkdir -p ${DIR}/seed || say "no place for it"`,
    `mount -t iso9660 -o ro "/dev/disk/by-label/${volumeLabel}" ${DIR}/seed || say "no seed"`,
    `cp ${DIR}/seed/${AGENT_FILE} ${DIR}/ && chmod 0500 ${DIR}/${AGENT_FILE} || say "no program"`,
    `umount ${DIR}/seed`,
    "if [ -d /run/systemd/system ]; then",
    `  systemd-run --quiet --no-block --collect ${UNIT.join(" ")} ${DIR}/${AGENT_FILE} --machine || say "systemd"`,
    "else",
    `  setsid ${DIR}/${AGENT_FILE} --machine </dev/null >/dev/kmsg 2>&1 &`,
    "fi",
    "",
  ].join("\n");
}
