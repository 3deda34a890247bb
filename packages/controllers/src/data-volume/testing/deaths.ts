import { TrineError } from "@trine/base";
import { PODS } from "@trine/kube-client";
import type { World } from "./world.ts";

type When = "before" | "after";

/** Each moment at which a process with so many writes may die. */
export function momentsOf(writes: number): [When, number][] {
  return Array.from({ length: writes }, (_, at) => at).flatMap((at): [When, number][] => [
    ["before", at],
    ["after", at],
  ]);
}

/** The process dies at that write, and another goes on. Answers how many writes there were until now. */
export function dieAt(world: World, when: When, at: number): () => number {
  let count = 0;
  world.onWrite(when, () => {
    count += 1;
    if (count !== at + 1) return;
    world.restart();
    throw new TrineError("unavailable", "died here");
  });
  return () => count;
}

/** How many pods were ever made. */
export function podsMade({ kube }: World): number {
  const { plural } = PODS;
  return kube.writes.filter(({ verb, resource }) => verb === "create" && resource === plural)
    .length;
}
