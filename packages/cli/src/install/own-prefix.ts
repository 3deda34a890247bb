import { basename, dirname } from "node:path";
import { TrineError } from "@trine/base";
import { besideProgram } from "../beside-program.ts";

/** Of PREFIX/lib/trine/trine.mjs. */
export function ownPrefix(): string {
  const lib = besideProgram(".");
  if (basename(lib) === "trine" && basename(dirname(lib)) === "lib") return dirname(dirname(lib));
  const what =
    "this program was not put where it is by make install: say by --prefix where Trine is";
  throw new TrineError("invalid", what);
}
