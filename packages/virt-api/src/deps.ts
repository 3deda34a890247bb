import type { KubeApi } from "@trine/kube-client";
import type {
  ClusterDefaults,
  VirtualMachine,
  VirtualMachineInstanceSpec,
} from "@trine/kube-types";
import type { NodeDoor } from "@trine/node-door";
import type { Logger } from "pino";

/** Answer of `GET …/version`: what `virtctl version` shows of the server. */
export interface VersionInfo {
  /** Semantic, with a `v` before it. */
  readonly gitVersion: string;
  readonly gitCommit: string;
  readonly gitTreeState: string;
  readonly buildDate: string;
  readonly goVersion: string;
  readonly compiler: string;
  readonly platform: string;
}

/** Answer of `GET …/guestfs`: the image that `virtctl guestfs` starts. */
export interface GuestfsInfo {
  readonly registry: string;
  readonly tag: string;
  readonly digest: string;
  readonly imagePrefix: string;
  readonly gsImage: string;
}

/** Whose stream it is, and which: `console`, `vnc`, `portforward`. */
export interface StreamOf {
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

/** A request that was answered, other than by a stream. */
export interface AnsweredRequest {
  readonly verb: string;
  readonly resource: string;
  readonly code: number;
  readonly seconds: number;
}

/** What the API needs of the program that it is part of. */
export interface VirtApiDeps {
  /** As the service account of virt-api: `isSystem` is true of its name. */
  readonly kube: KubeApi;
  /** The door of the node of this name. */
  readonly doorOf: (node: string, signal: AbortSignal) => Promise<NodeDoor>;
  /**
   * A machine as it is with its instance type and preference. Rejects with `invalid` where they contradict the machine,
   * with `notFound` where there is no such instance type.
   */
  readonly expand: (machine: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachine>;
  /** What the KubeVirt object says now. */
  readonly defaults: () => ClusterDefaults;
  /** Paths of fields that are accepted and not acted on; `at` is the path of the spec. */
  readonly inertFields: (spec: VirtualMachineInstanceSpec, at: string) => readonly string[];
  /** Whether a user is the control plane itself. */
  readonly isSystem: (user: string) => boolean;
  /** PEM: signs what allows an upload; the same in all processes that serve the API. */
  readonly uploadKey: () => string;
  /** Signs what may be copied out of other namespaces. */
  readonly copyKey: () => Buffer;
  readonly version: VersionInfo;
  readonly guestfs: GuestfsInfo;
  /** A stream to a machine is open; answers what to call when it has ended. */
  readonly onStream?: (of: StreamOf) => () => void;
  readonly onAnswer?: (of: AnsweredRequest) => void;
  readonly uuid: () => string;
  readonly now: () => Date;
  readonly logger: Logger;
}
