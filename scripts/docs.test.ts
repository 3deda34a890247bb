import { expect, test } from "vitest";
import { annotationsReference } from "./annotations-reference.ts";
import { configReference } from "./config-reference.ts";
import { withLayers } from "./layer-table.ts";
import { runtimeClasses } from "./runtime-classes.ts";

test("describes every annotation once, with a link that leads to it", () => {
  const text = annotationsReference();
  const headings = [...text.matchAll(/^## (trine\.dev\/\S+)$/gm)].map(([, key]) => key);
  const links = [...text.matchAll(/^\| \[`(\S+)`\]\(#(\S+)\)/gm)].map(([, key, anchor]) => {
    expect(anchor).toBe(key?.replaceAll(/[./]/g, ""));
    return key;
  });
  expect(headings.length).toBeGreaterThan(10);
  expect(links).toEqual(headings);
});

test("gives a RuntimeClass the overhead that was measured, and no other", () => {
  const text = runtimeClasses({
    "trine-vm": { memoryBytes: 70_000_000, cpuMillis: 5, figure: "vm-overhead" },
  });
  const [vm, microvm] = text.split("---\n");
  expect(vm).toContain(
    "# Measured: vm-overhead.\noverhead:\n  podFixed:\n    memory: 67Mi\n    cpu: 5m\n",
  );
  expect(microvm).not.toContain("\noverhead:");
  expect(() => runtimeClasses({ "trine-vm": { memoryBytes: 0, figure: "x" } })).toThrow(
    "no memory",
  );
});

test("lists every field of the configuration with its default and a reason", () => {
  const text = configReference();
  const fields = [...text.matchAll(/^\| `([A-Za-z.]+)` \| \S.* \| `\S+` \| \S/gm)].map((m) => m[1]);
  expect(fields).toEqual(expect.arrayContaining(["stateDir", "log.level", "machines.uefi.code"]));
  expect(text).not.toContain("undefined");
});

test("prints the layers between the markers, again and again the same", () => {
  const layers = { layers: [["base"], ["proto", "x"]], testOnly: ["kit"] };
  const text = "a\n<!-- layers:begin -->\nold\n<!-- layers:end -->\nb\n";
  const once = withLayers(text, layers);
  expect(once).toContain("| 1 | `proto`, `x` |\n| tests only | `kit` |");
  expect(once).not.toContain("old");
  expect(withLayers(once, layers)).toBe(once);
  expect(() => withLayers("no markers", layers)).toThrow("lacks");
});
