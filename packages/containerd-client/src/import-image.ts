import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TrineError } from "@trine/base";

export interface ImportImageOptions {
  /** containerd's gRPC socket. */
  socket: string;
  /** Default `k8s.io`, the one kubelet's images live in. */
  namespace?: string;
  /** The `ctr` to run; default from PATH. */
  ctr?: string;
  /** Name for images that carry none. */
  indexName?: string;
  signal?: AbortSignal;
}

/**
 * Puts an OCI or docker archive (file name or byte stream) into containerd's store and unpacks it, by
 * containerd's own `ctr`. Answers the names of the images. CRI learns of them a moment later.
 */
export async function importImage(
  archive: string | Readable,
  options: ImportImageOptions,
): Promise<string[]> {
  const args = ["--address", options.socket, "--namespace", options.namespace ?? "k8s.io"];
  args.push("images", "import");
  if (options.indexName !== undefined) args.push("--index-name", options.indexName);
  const child = spawn(options.ctr ?? "ctr", [...args, "-"], {
    stdio: "pipe",
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const output = collect(child.stdout);
  const errors = collect(child.stderr);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  // ctr may end before it has read all; its exit status tells what went wrong.
  const fed = pipeline(
    typeof archive === "string" ? createReadStream(archive) : archive,
    child.stdin,
  );
  const [fedResult, endedResult] = await Promise.allSettled([fed, ended]);
  if (endedResult.status === "rejected") {
    throw TrineError.during("import image: ctr", endedResult.reason);
  }
  if (endedResult.value !== 0) {
    const words = errors().trim().split("\n").slice(-3).join("; ");
    throw new TrineError(
      "internal",
      `import image: ctr exit ${endedResult.value ?? "signal"}: ${words}`,
    );
  }
  if (fedResult.status === "rejected") throw TrineError.during("import image", fedResult.reason);
  return [...output().matchAll(/^unpacking (\S+)/gm)].map((match) => match[1] ?? "");
}

function collect(stream: Readable): () => string {
  let text = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    text = (text + chunk).slice(-65_536);
  });
  return () => text;
}
