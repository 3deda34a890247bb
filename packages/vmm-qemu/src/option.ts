import { TrineError } from "@trine/base";

type OptionValue = string | number | boolean | undefined;

/**
 * One QEMU option argument, `head,key=value,…`: undefined values are left out, booleans are on and off,
 * commas in values are doubled (QEMU's only escape).
 */
export function option(head: string, values: Readonly<Record<string, OptionValue>> = {}): string {
  const parts = [head];
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const text = typeof value === "boolean" ? (value ? "on" : "off") : String(value);
    if (text.includes("\0")) throw new TrineError("invalid", `QEMU option ${key} holds a NUL byte`);
    parts.push(`${key}=${text.replaceAll(",", ",,")}`);
  }
  return parts.join(",");
}
