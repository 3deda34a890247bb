// Pods on the small kernel that `trine guest build --from-source` compiles.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { buildGuestImage } from "@trine/guest-image";
import { DIST, cacheDir, withTempDir } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";
import { expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";

const COMPILE_MS = 7_000_000;
const READY_MS = 240_000;

async function untilReady(node: TrineNode, what: RegExp): Promise<void> {
  await pollUntil(`metrics have ${String(what)}`, { ms: READY_MS, everyMs: 100 }, async () =>
    what.test((await node.api("/metrics")).body) ? true : undefined,
  );
}

/** An hour on a slow machine, unless the kernel is in the cache. */
export function smallKernelTests(): void {
  test(
    "a pod boots it, one goes on from its template, one starts in its spare: each runs on disks",
    () =>
      withTempDir(async (dir) => {
        const built = await buildGuestImage(join(dir, "guest"), {
          kernel: { from: "source" },
          agent: join(DIST, "bin/trine-agent"),
          cacheDir: cacheDir(),
          signal: AbortSignal.timeout(COMPILE_MS),
          say: () => undefined,
        });
        const { kernel, initrd, manifest } = built;
        expect(manifest.modules).toEqual([]);
        const guest = { dir: built.dir, kernel, initrd, cmdline: manifest.cmdline };
        const more = "  pool: [{ count: 1 }]";
        const { node, image } = await startMicrovmNode({ guest, more });
        const run = async (name: string, annotations = {}): Promise<string> => {
          const script = "uname -r; mount | grep ' / '; exec sleep 1000";
          const command = ["sh", "-c", script];
          const handler = "trine-microvm";
          const pod = await node.run({ name, image, handler, command, annotations });
          const said = await node.untilOutput(pod, " / ", READY_MS);
          expect(said).toContain(manifest.kernel.release);
          const { items } = JSON.parse((await node.api("/v1/pods")).body) as {
            items: { sandboxId: string; machine?: { start?: { how: string } } }[];
          };
          const view = items.find(({ sandboxId }) => sandboxId === pod.podSandboxId);
          await node.remove(pod);
          return `${view?.machine?.start?.how ?? "?"} ${/ type (\S+)/.exec(said)?.[1] ?? "?"}`;
        };
        try {
          // The first start makes the image's file; its root is through the share where that is not ready.
          expect(await run("first", { "trine.dev/memory": "320Mi" })).toMatch(/^(cold|clone) /);
          await untilReady(node, /^trine_templates\{state="ready"\} [1-9]/m);
          await untilReady(node, /^trine_spares\{[^}]*state="ready"[^}]*\} [1-9]/m);
          expect(await run("clone", { "trine.dev/memory": "320Mi" })).toBe("clone overlay");
          expect(await run("spare")).toBe("spare overlay");
        } finally {
          expect(await node.stop()).toEqual([]);
          await rm(`${join(dir, "guest")}.d`, { recursive: true, force: true });
        }
      }),
    COMPILE_MS + 4 * READY_MS,
  );
}
