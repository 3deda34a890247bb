/** Where a guest's kernel comes from. */
export type KernelChoice =
  /** Debian's newest generic kernel, by apt. */
  | { readonly from: "debian" }
  /** A bzImage or vmlinux of the caller's, and the directory of its modules when it has any. */
  | { readonly from: "files"; readonly kernel: string; readonly modules?: string }
  /** A small kernel with everything built in, compiled from Debian's sources. */
  | { readonly from: "source" };

/** A kernel as a source of kernels found it. */
export interface KernelFiles {
  /** In words, for guest.json. The same for the same kernel on every machine. */
  readonly source: string;
  /** A bzImage or vmlinux. */
  readonly path: string;
  /** Such as .../lib/modules/6.1.0-56-amd64; undefined = the kernel has no modules. */
  readonly modulesDir?: string;
  /** How it was configured, as text; undefined = look into the kernel itself. */
  readonly config?: string;
}

export interface KernelContext {
  /** Kept between builds: packages and compiled kernels. */
  readonly cacheDir: string;
  /** Empty, for this build only. */
  readonly workDir: string;
  readonly signal: AbortSignal;
  /** Told what takes long, a line each. */
  readonly say: (line: string) => void;
}
