import type { Io } from "../io.ts";
import { asList, printList } from "../output/print-list.ts";
import type { List, ListFlags } from "../output/print-list.ts";
import { SETTING_NAMES } from "./settings.ts";
import type { Setting } from "./read-config.ts";

/** What `config view` shows as JSON. */
type ConfigDocument = List<Setting>;

/** `trine config view`: what holds, and with --show-origin who said so. */
export async function viewConfig(
  io: Io,
  flags: ListFlags & { readonly showOrigin: boolean },
): Promise<void> {
  const settings = SETTING_NAMES.map((name) => io.config.settings[name]);
  await printList(io, flags, {
    value: asList(settings) satisfies ConfigDocument,
    header: ["SETTING", "VALUE", "ORIGIN"],
    narrow: flags.showOrigin ? 3 : 2,
    rows: settings.map(({ name, value, origin }) => [name, value, origin]),
    names: settings.map(({ name }) => name),
  });
}
