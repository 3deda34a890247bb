import type { Logger } from "pino";
import type { DescribeResponse } from "@trine/proto/shim";
import type { ShimLink } from "@trine/shim-client";
import type { MachineSpec } from "@trine/vmm";
import type { Bundle } from "./bundle.ts";
import type { EngineDeps } from "./deps.ts";
import type { GuestStart } from "./guest/guest-start.ts";
import { decodeDocument, encodeDocument } from "./pod-document.ts";
import type { GuestSize, PodDocument } from "./pod-document.ts";
import { podFiles } from "./pod-files.ts";
import type { PodFiles } from "./pod-files.ts";
import { identityOf } from "./pod-identity.ts";
import type { PodIdentity } from "./pod-identity.ts";

/** What a pod has of its node. */
export interface PodDeps extends EngineDeps {
  readonly templates: TemplatesOfPods;
  readonly spares: SparesOfPods;
  /** Something of this pod is not as it was. */
  readonly changed?: () => void;
}

/** What a guest may go on from instead of booting. */
interface TemplatesOfPods {
  /** How the guest is to start, and from what: a clone's spec where a template fits it. */
  startOf(wanted: MachineSpec): Promise<{ start: GuestStart; spec: MachineSpec }>;
  /** A clone of the template with this key runs. */
  used(key: string): void;
  /** A clone did not come up, and why: the template is not used again for a while. */
  distrust(key: string, why: string): void;
}

/** The guests that were there before their pods. */
interface SparesOfPods {
  /** A pod has claimed the spare of this name, and goes on in it or cannot. */
  claimed(name: string, isUsed: boolean): void;
  /** A pod that could have used a spare found none. */
  missed(): void;
  /** `spareKey` of what this node would make now. */
  keyOf(size: GuestSize): Promise<string>;
  /** Pods are being made: no spare is for a moment. */
  postpone(): void;
}

/** What the parts of one pod share: its shim, its document, its names. */
export class PodContext {
  readonly deps: PodDeps;
  readonly shim: ShimLink;
  readonly facts: DescribeResponse;
  /** The sandbox's bundle: its annotations are the pod's. */
  readonly sandbox: Bundle;
  readonly identity: PodIdentity;
  readonly files: PodFiles;
  readonly log: Logger;
  readonly document: PodDocument;
  #revision: bigint;

  constructor(deps: PodDeps, shim: ShimLink, facts: DescribeResponse, sandbox: Bundle) {
    this.deps = deps;
    this.shim = shim;
    this.facts = facts;
    this.sandbox = sandbox;
    this.identity = identityOf(facts, sandbox);
    this.files = podFiles(deps.config, facts.podDir);
    this.document = decodeDocument(facts.state);
    this.#revision = facts.stateRevision;
    this.log = deps.log.child({ pod: this.identity.name, sandbox: facts.sandboxId.slice(0, 12) });
  }

  /** The pod's name on this node: owner of its user id. */
  get key(): string {
    return `${this.identity.namespace}/${this.identity.sandboxId}`;
  }

  /** The task that stands for the pod and runs nothing; ctr and docker make none. */
  isSandboxTask(id: string): boolean {
    return id === this.identity.sandboxId && this.sandbox.isPodSandbox;
  }

  /** Gives the document, as it is now, to the shim. */
  async save(): Promise<void> {
    this.#revision += 1n;
    await this.shim.putState(encodeDocument(this.document), this.#revision);
    this.deps.changed?.();
  }
}
