import { join } from "node:path";
import type { Io } from "../io.ts";

/** Where imports do their work. */
export function importsDir({ dataDir }: Pick<Io, "dataDir">): string {
  return join(dataDir, "imports");
}
