import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { Streams } from "./stream-gauges.ts";

test("streams are counted by machine while they are open, and no longer", async () => {
  const registry = new Registry();
  const streams = new Streams(registry);
  const of = { subresource: "console", namespace: "shop", name: "a" };
  const [first, second] = [streams.opened(of), streams.opened(of)];
  const other = streams.opened({ ...of, subresource: "portforward" });
  const open = 'kubevirt_console_active_connections{namespace="shop",vmi="a"}';
  expect(await registry.metrics()).toContain(`${open} 2\n`);
  first();
  expect(await registry.metrics()).toContain(`${open} 1\n`);
  expect(await registry.metrics()).toContain(
    'kubevirt_portforward_active_tunnels{namespace="shop",vmi="a"} 1\n',
  );
  second();
  other();
  expect(await registry.metrics()).not.toMatch(/\{/);
});
