import { dirname, isAbsolute, relative } from "node:path";
import { TrineError } from "@trine/base";

/** mount(2) takes one page of options. */
const MAX_BYTES = 4000;
const DIRECTORIES = /^(lowerdir|upperdir|workdir)=(.*)$/;

/**
 * The options of an overlay with its directories relative to the longest one they lie in, `from`: the paths of an
 * image of many layers are longer than a page. Other options stay as they are. Kind `unimplemented` for more layers
 * than one mount takes.
 */
export function shortened(options: readonly string[]): {
  readonly options: readonly string[];
  readonly from: string;
} {
  const paths = options.flatMap((option) => DIRECTORIES.exec(option)?.[2]?.split(":") ?? []);
  if (!paths.every(isAbsolute)) {
    throw new TrineError("unimplemented", "an overlay of directories without their whole paths");
  }
  const from = commonDirectory(paths);
  const short = options.map((option) => {
    const [, name, value] = DIRECTORIES.exec(option) ?? [];
    if (name === undefined || value === undefined) return option;
    return `${name}=${value
      .split(":")
      .map((path) => relative(from, path))
      .join(":")}`;
  });
  if (Buffer.byteLength(short.join(",")) <= MAX_BYTES) return { options: short, from };
  throw new TrineError("unimplemented", `${paths.length} directories do not fit into one mount`);
}

function commonDirectory(paths: readonly string[]): string {
  let from = dirname(paths[0] ?? "/");
  const prefix = (): string => (from === "/" ? from : `${from}/`);
  while (!paths.every((path) => path.startsWith(prefix()))) from = dirname(from);
  return from;
}
