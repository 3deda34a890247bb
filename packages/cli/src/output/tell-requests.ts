import type { OnRequest } from "@trine/base";
import type { Io } from "../io.ts";
import { printable } from "./table.ts";

/** How much is told of requests: 0 nothing, 1 each when it is over, 2 also when it is sent, with sizes. */
export interface Verbosity {
  level: number;
}

/** `-v` and `-vv`: requests to other programs, on stderr. */
export function tellRequests(io: Pick<Io, "stderr">, verbosity: Verbosity): OnRequest {
  let count = 0;
  const tell = (line: string): void => {
    io.stderr.write(`trine: ${printable(line)}\n`);
  };
  return ({ method, target, sentBytes }) => {
    if (verbosity.level === 0) return undefined;
    const isMore = verbosity.level > 1;
    const name = `request ${++count} ${method} ${target}`;
    const begun = performance.now();
    if (isMore) tell(`${name}: sent${sizeOf(sentBytes)}`);
    return ({ status, receivedBytes }) => {
      const ms = (performance.now() - begun).toFixed(1);
      tell(`${name}: ${status}, ${ms} ms${isMore ? sizeOf(receivedBytes) : ""}`);
    };
  };
}

function sizeOf(bytes: number | undefined): string {
  return bytes === undefined ? "" : `, ${bytes} bytes`;
}
