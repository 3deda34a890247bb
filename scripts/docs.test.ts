import { expect, test } from "vitest";
import { annotationsReference } from "./annotations-reference.ts";
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
