/** A mount as containerd hands it to a shim. */
export interface SnapshotMount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** What an overlay of containerd's is made of: directories of the host. */
export interface OverlayRoot {
  /** Uppermost first. */
  readonly layers: readonly string[];
  /** Where what the container writes would go. */
  readonly upperDir: string;
}

/**
 * The directories of a container's root. Undefined when it is not one overlay of an image and a writable layer:
 * other snapshotters, an image without layers, a root that is made ready by somebody else.
 */
export function overlayRoot(mounts: readonly SnapshotMount[]): OverlayRoot | undefined {
  const [only, ...more] = mounts;
  if (only?.type !== "overlay" || more.length > 0) return undefined;
  const upperDir = option(only, "upperdir");
  const layers = option(only, "lowerdir")?.split(":") ?? [];
  const whole = [upperDir ?? "", ...layers].every((path) => path.startsWith("/"));
  return upperDir !== undefined && layers.length > 0 && whole ? { layers, upperDir } : undefined;
}

function option({ options }: SnapshotMount, name: string): string | undefined {
  return options.find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1);
}
