import { expect, test } from "vitest";
import type { AgentClient } from "./agent-client.ts";
import { AgentVoice, readOsRelease } from "./agent-voice.ts";

test("whether a guest is frozen is asked each time, and no answer outlives a freeze or a thaw", async () => {
  let asked = 0;
  let during: (() => Promise<unknown>) | undefined;
  const change = async (): Promise<void> => {
    await during?.();
  };
  const client = {
    guestInfo: () => Promise.resolve({ frozen: (asked += 1) % 2 === 0, hostname: `host-${asked}` }),
    freeze: change,
    thaw: change,
  } as unknown as AgentClient;
  const voice = new AgentVoice(() => client);
  during = () => voice.hostName();
  expect([await voice.isFrozen(), await voice.isFrozen()]).toEqual([false, true]);
  // One look's questions are one.
  expect(await voice.hostName()).toBe("host-2");
  await voice.freeze({ forMs: 1 });
  expect(await voice.hostName()).toBe("host-3");
  during = async () => {
    await voice.isFrozen();
  };
  await voice.thaw();
  expect(await voice.hostName()).toBe("host-5");
});

test.each<[string, Readonly<Record<string, string>>]>([
  [
    'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    { ID: "debian", PRETTY_NAME: "Debian GNU/Linux 12" },
  ],
  ["NAME='a b'\r\n# ID=no\nVERSION_ID=\n", { NAME: "a b" }],
  [`${"x\n".repeat(100)}ID=late`, {}],
  [`ID=${"y".repeat(5_000)}`, { ID: "y".repeat(1_021) }],
  ["", {}],
])("os-release %#", (text, found) => {
  expect(Object.fromEntries(readOsRelease(text))).toEqual(found);
});
