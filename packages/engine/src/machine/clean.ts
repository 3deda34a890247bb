// What a guest says is a stranger's: cut, stripped of what moves a terminal, and dropped where it is not what it should be.
import { isIP } from "node:net";
import { printable } from "@trine/base";

const MAX_TEXT = 255;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

export function cleanText(text: string): string {
  return printable(text, MAX_TEXT);
}

/** Only the fields that are there. */
export function cleanTexts<K extends string>(
  texts: Readonly<Record<K, string | undefined>>,
): Partial<Record<K, string>> {
  const said = Object.entries<string | undefined>(texts).flatMap(([key, text]) =>
    text === undefined || text === "" ? [] : [[key, cleanText(text)]],
  );
  return Object.fromEntries(said) as Partial<Record<K, string>>;
}

/** Undefined for what is no address; without a link-local one's zone. */
export function cleanAddress(text: string): string | undefined {
  const [address = ""] = text.split("%", 1);
  return isIP(address) === 0 ? undefined : address.toLowerCase();
}

export function cleanMac(text: string | undefined): string | undefined {
  const mac = text?.toLowerCase();
  return mac !== undefined && MAC.test(mac) ? mac : undefined;
}

/** 0 for what is no count. */
export function cleanCount(value: number | undefined): number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
