import { CONFIG_MAPS } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { expect, test } from "vitest";
import { ensureObject } from "./register.ts";

const never = new AbortController().signal;
const metadata = { namespace: "a", name: "x" };

test("an object is made once, put back where it was changed, and keeps what others added", async () => {
  const kube = new MemoryKube();
  const wanted = { metadata, hooks: [{ name: "one", rules: ["r"] }] };
  const ensure = (): Promise<void> => ensureObject(kube, CONFIG_MAPS, wanted, never);
  await ensure();
  await ensure();
  expect(kube.writes).toHaveLength(1);
  const made = await kube.get(CONFIG_MAPS, metadata);
  const hooks = [{ name: "one", rules: ["other"], timeoutSeconds: 10 }];
  await kube.update(CONFIG_MAPS, { ...made, hooks } as never);
  await ensure();
  expect(await kube.get(CONFIG_MAPS, metadata)).toMatchObject({
    hooks: [{ name: "one", rules: ["r"], timeoutSeconds: 10 }],
  });
});
