// A machine's disk made of an image of containers, and started under both firmwares.
import { pollUntil } from "@trine/base";
import { tinyGuestTreeImage } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BUSYBOX, HandNode } from "../testing/hand-node.ts";

/** Two guests boot under emulation, one after UEFI. */
const BOOT_MS = 300_000;
const BUILT = "localhost/built:1";
const BUILD = ["image", "build", "trine.test/tiny-tree:1", "--name", BUILT, "--size", "256Mi"];

let hand: HandNode;
/** Of containerd's store, beyond what was there first. */
let added: () => Promise<string[]>;

beforeAll(async () => {
  hand = await HandNode.start("2.4");
  await hand.node.containerd.importImage(await tinyGuestTreeImage());
  added = await hand.node.containerd.watchStore();
}, 600_000);

afterAll(async () => {
  await hand.clear();
  expect(await hand.stop()).toEqual([]);
}, 120_000);

test.each([
  [[BUSYBOX], 2, "no kernel in /boot"],
  [["trine.test/tiny-tree:1", "--kernel", "/bin/true", "--initrd", "/bin/true"], 2, "no bzImage"],
  [["trine.test/tiny-tree:1", "--kernel", "/nowhere", "--initrd", "/bin/true"], 2, "/nowhere"],
  [["trine.test/tiny-tree:1", "--size", "1Mi"], 2, "256Mi or more"],
  [["localhost/none:1"], 3, "localhost/none"],
])(
  "%j is refused and leaves nothing",
  async (argv, code, why) => {
    const ran = await hand.trine("image", "build", "--name", BUILT, "--progress", "none", ...argv);
    expect(ran).toMatchObject({ code, stdout: "" });
    expect(ran.stderr).toContain(why);
    expect(await added()).toEqual([]);
  },
  120_000,
);

test.each(["reading", "writing boot files", "writing root", "converting"])(
  "^C at %s leaves nothing, or all when it came too late",
  async (step) => {
    const build = hand.begin([...BUILD, "--progress", "plain"]);
    await pollUntil(`it is ${step}`, { ms: 120_000, everyMs: 20 }, () =>
      build.errors().includes(step) ? true : undefined,
    );
    build.signal("SIGINT");
    const ended = await build.ended;
    if (step === "converting" && ended.code === 0) {
      // So small a disk may be an image before the signal comes.
      expect(ended.stdout).toBe(`${BUILT}\n`);
      expect(await hand.trine("image", "rm", BUILT)).toMatchObject({ code: 0 });
    } else expect(ended).toMatchObject({ code: 130, stdout: "" });
    expect(await added()).toEqual([]);
  },
  180_000,
);

test("the disk boots from BIOS and from UEFI", async () => {
  const flags = ["--cmdline", "console=ttyS0 quiet", "--progress", "none"];
  expect(await hand.trine(...BUILD, ...flags)).toMatchObject({ code: 0, stdout: `${BUILT}\n` });
  const label = ["image", "inspect", BUILT, "-o", "jsonpath={.metadata.labels}"];
  expect((await hand.trine(...label)).stdout).toContain("trine.test/tiny-tree:1");
  for (const firmware of ["bios", "uefi"]) {
    const annotation = ["--annotation", `trine.dev/firmware=${firmware}`];
    const machine = ["--level", "vm", "--name", firmware, "--memory", "256Mi", ...annotation];
    expect(await hand.run(...machine, BUILT)).toMatchObject({ code: 0 });
  }
  for (const firmware of ["bios", "uefi"]) {
    await pollUntil(`${firmware}: the guest is up`, { ms: BOOT_MS, everyMs: 500 }, async () =>
      (await hand.trine("logs", firmware)).stdout.includes("TINY-GUEST READY") ? true : undefined,
    );
  }
  expect(await hand.trine("rm", "bios", "uefi", "--grace", "0")).toMatchObject({ code: 0 });
  expect(await hand.trine("image", "rm", BUILT)).toMatchObject({ code: 0 });
}, 700_000);
