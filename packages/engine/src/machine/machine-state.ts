import { TrineError } from "@trine/base";

/**
 * The life of a machine. All changes go through one queue a pod; a request is accepted, already
 * satisfied, or refused with the reason.
 *
 *   absent --create--> created --start--> running <--pause/resume--> paused
 *      ^                  |                  | stop                     | stop
 *      |                  |                  v                          |
 *      |                  |               stopping <--------------------+
 *      |                  | exit             | exit
 *      +----delete--- ended <----------------+---- exit (from every state in which the VMM runs)
 */
export type MachineState = "absent" | "created" | "running" | "paused" | "stopping" | "ended";

export type MachineRequest = "create" | "start" | "pause" | "resume" | "stop" | "exit" | "delete";

export type Transition =
  | { readonly verdict: "accepted"; readonly to: MachineState }
  | { readonly verdict: "already" }
  | { readonly verdict: "refused"; readonly why: string };

const MOVES: Record<MachineRequest, Partial<Record<MachineState, MachineState>>> = {
  create: { absent: "created" },
  start: { created: "running" },
  pause: { running: "paused" },
  resume: { paused: "running" },
  // A paused machine cannot hear its power button: stop resumes it first.
  stop: { running: "stopping", paused: "stopping" },
  exit: { created: "ended", running: "ended", paused: "ended", stopping: "ended" },
  delete: { created: "absent", ended: "absent" },
};

/** States in which a request finds its work done: a repeat is a success. */
const DONE: Record<MachineRequest, readonly MachineState[]> = {
  create: ["created"],
  // Its spec may have it start paused.
  start: ["running", "paused"],
  pause: ["paused"],
  resume: ["running"],
  stop: ["stopping", "ended"],
  exit: ["ended", "absent"],
  delete: ["absent"],
};

export function transition(state: MachineState, request: MachineRequest): Transition {
  const to = MOVES[request][state];
  if (to !== undefined) return { verdict: "accepted", to };
  if (DONE[request].includes(state)) return { verdict: "already" };
  return { verdict: "refused", why: `cannot ${request} a machine that is ${state}` };
}

/** The state a request leads to; undefined when it is satisfied already; kind `wrongState` for a refusal. */
export function nextState(
  state: MachineState,
  request: MachineRequest,
  podName: string,
): MachineState | undefined {
  const verdict = transition(state, request);
  switch (verdict.verdict) {
    case "accepted":
      return verdict.to;
    case "already":
      return undefined;
    case "refused":
      throw new TrineError("wrongState", `pod ${podName}: ${verdict.why}`);
  }
}
