import { createImageStore } from "./image-store.ts";

/** Where containerd's CRI keeps, as JSON `{ Version, Metadata: { Config } }`, what it was asked for. */
const EXTENSION = "io.cri-containerd.container.metadata";
const VERSION = "v1";
const ANSWER_MS = 5_000;

interface ContainerPlace {
  /** containerd's socket. */
  readonly containerd: string;
  readonly namespace: string;
  readonly id: string;
}

/**
 * The ContainerConfig, in CRI's own JSON, that a container of containerd was made of; undefined when it was not made
 * by CRI, or its record has another form. Kinds `notFound`, `unavailable`, `timeout`.
 */
export async function criContainerConfig(of: ContainerPlace): Promise<unknown> {
  const store = createImageStore(of.containerd, of.namespace);
  try {
    const { container } = await store.containers.get({ id: of.id }, { timeoutMs: ANSWER_MS });
    const bytes = container?.extensions[EXTENSION]?.value;
    return bytes === undefined ? undefined : configIn(bytes);
  } finally {
    store.close();
  }
}

/** Of such a record. */
export function configIn(bytes: Uint8Array): unknown {
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return undefined; // of a form that is not known
  }
  const { Version: version, Metadata: metadata } = members(found);
  return version === VERSION ? members(metadata)["Config"] : undefined;
}

function members(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
