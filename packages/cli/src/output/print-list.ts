import { TrineError } from "@trine/base";
import type { Io } from "../io.ts";
import { machineReadable } from "./output.ts";
import type { Output } from "./output.ts";
import { printable, table } from "./table.ts";
import { writeOut } from "./write-out.ts";

export interface ListFlags {
  readonly output: Output;
  readonly columns?: readonly string[];
  readonly headers: boolean;
}

/** Things in every form a command can show them in. */
export interface Listing {
  /** What json, yaml and jsonpath show. */
  readonly value: unknown;
  /** Titles in capitals; of the columns of `wide` too. */
  readonly header: readonly string[];
  /** How many of the titles the plain table has. */
  readonly narrow: number;
  /** A row an item, as many cells as titles. */
  readonly rows: readonly (readonly string[])[];
  /** What `-o name` shows of each. */
  readonly names: readonly string[];
}

/** Whether cells of the wide columns are needed. */
export function wantsWide({ output, columns }: ListFlags): boolean {
  return output.form === "wide" || output.form === "csv" || columns !== undefined;
}

export interface List<T> {
  readonly apiVersion: "v1";
  readonly kind: "List";
  readonly items: readonly T[];
}

export function asList<T>(items: readonly T[]): List<T> {
  return { apiVersion: "v1", kind: "List", items };
}

/** Kind `invalid` for a column that is not there. */
export async function printList(
  io: Pick<Io, "stdout">,
  flags: ListFlags,
  listing: Listing,
): Promise<void> {
  const { form } = flags.output;
  const chosen = columnsOf(flags, listing);
  const text = await machineReadable(flags.output, listing.value);
  if (text !== undefined) return writeOut(io.stdout, text);
  if (form === "name") {
    return writeOut(io.stdout, listing.names.map((name) => `${printable(name)}\n`).join(""));
  }
  const pick = (row: readonly string[]): string[] => chosen.map((at) => row[at] ?? "");
  const rows = listing.rows.map(pick);
  const header = pick(listing.header);
  if (form === "csv") {
    const lines = flags.headers ? [header, ...rows] : rows;
    return writeOut(io.stdout, lines.map(csvLine).join(""));
  }
  const whole = table(header, rows);
  return writeOut(io.stdout, flags.headers ? whole : whole.slice(whole.indexOf("\n") + 1));
}

/** RFC 4180, with line ends as on this system. */
export function csvLine(cells: readonly string[]): string {
  const quoted = cells.map((cell) =>
    /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell,
  );
  return `${quoted.join(",")}\n`;
}

function columnsOf({ output, columns }: ListFlags, { header, narrow }: Listing): number[] {
  if (columns !== undefined) return pickColumns(columns, header);
  return pickColumns(undefined, output.form === "table" ? header.slice(0, narrow) : header);
}

/** Places of these titles; of all of them when none is named. Kind `invalid` for one that is not there. */
export function pickColumns(
  names: readonly string[] | undefined,
  header: readonly string[],
): number[] {
  if (names === undefined) return header.map((_, index) => index);
  return names.map((name) => {
    const at = header.indexOf(name);
    if (at >= 0) return at;
    const there = header.join(", ").toLowerCase();
    throw new TrineError("invalid", `no column ${name.toLowerCase()}; there are ${there}`);
  });
}
