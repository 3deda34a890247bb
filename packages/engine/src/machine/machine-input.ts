import type { MachineSettings } from "@trine/annotations";
import type { PodInterface } from "@trine/pod-network";
import type { Bundle } from "../bundle.ts";
import type { PodFiles } from "../pod-files.ts";
import type { PodIdentity } from "../pod-identity.ts";
import type { CreateTask } from "../requests.ts";

/** Everything a machine is made from. */
export interface MachineInput {
  readonly identity: PodIdentity;
  readonly task: CreateTask;
  readonly bundle: Bundle;
  readonly settings: MachineSettings;
  /** The guest's. */
  readonly hostname: string;
  /** The pod's as the guest has them, the primary one first. */
  readonly interfaces: readonly PodInterface[];
  /** Of each of them the link of the namespace that the guest has; undefined where passt carries it. */
  readonly links: readonly (string | undefined)[];
  /** Where the guest finds containers beside it; absent where it could not. */
  readonly containersAt?: string;
  /** Of each link. */
  readonly queues: number;
  readonly files: PodFiles;
  readonly uid: number;
  readonly cgroups: readonly string[];
  /** What the pod's shim does beyond its first release. */
  readonly shimFeatures: readonly string[];
}
