import { stat } from "node:fs/promises";
import type { ShimLink } from "@trine/shim-client";
import type { Template } from "@trine/vmm";
import { residentBytes } from "../machine-figures.ts";
import type { TemplateRecord } from "./template-record.ts";

const BLOCK_BYTES = 512;

/** A template as the node API shows it. */
export interface TemplateSummary {
  readonly key: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** What it holds of the host's memory. */
  readonly heldBytes: number;
  readonly shim: { readonly pid: number; readonly residentBytes: number };
  /** Pods that went on from it since this daemon started. */
  readonly clones: number;
}

/** A template that pods can go on from. */
export interface HeldTemplate {
  readonly dir: string;
  readonly shim: ShimLink;
  readonly pid: number;
  readonly record: TemplateRecord & { readonly template: Template };
  usedMs: number;
  clones: number;
}

/** What it is, and what it holds now. */
export async function summaryOf({ record, pid, clones }: HeldTemplate): Promise<TemplateSummary> {
  const { cpus, memoryBytes } = record.spec;
  const memory = await stat(record.template.memoryPath).catch(() => undefined); // its shim ends just now
  return {
    key: record.key,
    cpus,
    memoryBytes,
    heldBytes: (memory?.blocks ?? 0) * BLOCK_BYTES,
    shim: { pid, residentBytes: await residentBytes(pid) },
    clones,
  };
}
