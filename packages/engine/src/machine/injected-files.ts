import { TrineError } from "@trine/base";
import type { GuestFile } from "@trine/cloud-init";
import { decodeBase64 } from "./source-text.ts";

const OF_ANOTHER = /_(path|encoding)$/;

/**
 * Files as Virtlet names them: NAME holds the contents, NAME_path says where, NAME_encoding how they are written (base64
 * when it is not there). Kind `invalid`, naming the entry.
 */
export function injectedFiles(entries: ReadonlyMap<string, Buffer>, mode: number): GuestFile[] {
  const word = (name: string): string | undefined => entries.get(name)?.toString("utf8").trim();
  const files = [...entries]
    .filter(([name]) => !OF_ANOTHER.test(name))
    .map(([name, bytes]): GuestFile => {
      const path = word(`${name}_path`);
      if (path === undefined) throw new TrineError("invalid", `${name} has no ${name}_path`);
      const decoded = decode(name, bytes, word(`${name}_encoding`) ?? "base64");
      return { path, bytes: decoded, mode, when: "instance" };
    });
  const orphan = [...entries.keys()].find(
    (name) => OF_ANOTHER.test(name) && !entries.has(name.replace(OF_ANOTHER, "")),
  );
  if (orphan === undefined) return files;
  throw new TrineError(
    "invalid",
    `${orphan} says something of ${orphan.replace(OF_ANOTHER, "")}, which is not there`,
  );
}

function decode(name: string, bytes: Buffer, encoding: string): Buffer {
  if (encoding === "plain") return bytes;
  if (encoding !== "base64") {
    const given = JSON.stringify(encoding.slice(0, 40));
    throw new TrineError("invalid", `${name}_encoding is ${given}: "base64" or "plain"`);
  }
  try {
    return decodeBase64(bytes.toString("latin1"));
  } catch (cause) {
    throw TrineError.during(
      `${name}, read as base64 (${name}_encoding: plain says otherwise)`,
      cause,
    );
  }
}
