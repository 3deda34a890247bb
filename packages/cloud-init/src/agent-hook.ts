import type { GuestMount } from "./share-hook.ts";

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

/** What the agent mounts, and what came of it (crates/agent/src/shares.rs). */
const LIST = `${DIR}/shares`;
/** As long as a busy machine's kernel may take to load its drivers; without the volumes the guest comes up late. */
const WAIT_STEPS = 600;

/** What the agent does beside what it is asked. */
interface AgentWork {
  /** Volumes of the pod, parents before children, that it mounts over its link; the hook waits for them. */
  readonly shares?: readonly GuestMount[];
  /** TCP ports of containers beside the guest, which it has at the guest's localhost. */
  readonly ports?: readonly number[];
}

/**
 * Vendor data that starts our agent from the seed's disk with this label, at every boot; nothing of it stays on the guest's
 * disk. What does not work is said in the guest's kernel log and keeps nothing else from coming up.
 */
export function agentHook(
  volumeLabel: string,
  { shares = [], ports = [] }: AgentWork = {},
): string {
  const program = [
    `${DIR}/${AGENT_FILE} --machine`,
    ...(shares.length === 0 ? [] : [`--shares ${LIST}`]),
    ...(ports.length === 0 ? [] : [`--ports ${ports.join(",")}`]),
  ].join(" ");
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
    ...listed(shares),
    "if [ -d /run/systemd/system ]; then",
    `  systemd-run --quiet --no-block --collect ${UNIT.join(" ")} ${program} || say "systemd"`,
    "else",
    `  setsid ${program} </dev/null >/dev/kmsg 2>&1 &`,
    "fi",
    ...(shares.length === 0 ? [] : WAITED),
    "",
  ].join("\n");
}

const WAITED = [
  "left=" + String(WAIT_STEPS),
  `while [ ! -e ${LIST}.told ] && [ $left -gt 0 ]; do sleep 0.2; left=$((left - 1)); done`,
  `[ -e ${LIST}.told ] || echo "trine: the pod's volumes are not there yet" >/dev/kmsg`,
  `[ ! -s ${LIST}.told ] || echo "trine: the pod's volumes: $(cat ${LIST}.told)" >/dev/kmsg`,
];

/** A line for each: targets have no characters but plain text (the engine's machine-mounts.ts). */
function listed(shares: readonly GuestMount[]): string[] {
  if (shares.length === 0) return [];
  const lines = shares.map(({ name, target, kind, readOnly }) =>
    [kind, readOnly ? "ro" : "rw", name, target].join("\t"),
  );
  return [`cat >${LIST} <<'END'`, ...lines, "END"];
}
