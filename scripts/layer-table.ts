const BEGIN = "<!-- layers:begin -->";
const END = "<!-- layers:end -->";

/** layers.json */
export interface LayerData {
  readonly layers: readonly (readonly string[])[];
  readonly testOnly: readonly string[];
}

/** The text with the layer table between its two markers, whatever stood there. */
export function withLayers(text: string, { layers, testOnly }: LayerData): string {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`ARCHITECTURE.md lacks ${BEGIN} and ${END}`);
  const names = (list: readonly string[]): string => list.map((name) => `\`${name}\``).join(", ");
  const table = [
    "| Layer | Packages |",
    "|---|---|",
    ...layers.map((list, layer) => `| ${layer} | ${names(list)} |`),
    `| tests only | ${names(testOnly)} |`,
  ];
  return `${text.slice(0, begin)}${BEGIN}\n\n${table.join("\n")}\n\n${text.slice(end)}`;
}
