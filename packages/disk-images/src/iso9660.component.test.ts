import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withDeadline } from "@trine/base";
import { tinyGuestDisk } from "@trine/testkit";
import { buildIso9660, createOverlay, inspectImage } from "./index.ts";

const run = promisify(execFile);
const text = (value: string) => Buffer.from(value, "utf8");
const seed = [
  { name: "meta-data", bytes: text('{"instance-id":"a","local-hostname":"seeded"}') },
  { name: "user-data", bytes: text(`#cloud-config\n${"# x\n".repeat(2000)}`) },
  { name: "network-config", bytes: text("") },
];
/** As long as a key of a ConfigMap may be: Joliet has it cut. */
const LONG = `long/${"k".repeat(253)}`;
const drive = [
  { name: "openstack/latest/meta_data.json", bytes: text('{"hostname": "driven"}') },
  { name: "openstack/latest/user_data", bytes: text("#!/bin/sh\n") },
  { name: "openstack/content/0000", bytes: text("c") },
  ...Array.from({ length: 60 }, (_, i) => ({
    name: `many/a-long-name-of-a-file-${i}.Config.yaml`,
    bytes: text(String(i)),
  })),
  { name: LONG, bytes: text("of a long name\n") },
];
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-iso-"));
  await writeFile(join(dir, "seed.iso"), buildIso9660(seed, { volumeLabel: "cidata" }));
  await writeFile(join(dir, "drive.iso"), buildIso9660(drive, { volumeLabel: "config-2" }));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

test("isoinfo shows the names by both extensions, blkid the label", async () => {
  for (const [path, files] of [
    [join(dir, "seed.iso"), seed],
    [join(dir, "drive.iso"), drive],
  ] as const) {
    for (const extension of ["-R", "-J"]) {
      const { stdout } = await run("isoinfo", ["-i", path, extension, "-f"]);
      const isThere = (f: { name: string }) => extension === "-R" || f.name !== LONG;
      const wanted = files.filter(isThere).map((f) => `/${f.name}`);
      expect(stdout.split("\n").filter((line) => wanted.includes(line)).length).toBe(wanted.length);
    }
  }
  const path = join(dir, "seed.iso");
  const { stdout: described } = await run("isoinfo", ["-d", "-i", path]);
  expect(described).toMatch(/Volume id: cidata\n/);
  expect(described).toMatch(/Joliet with UCS level 3 found/);
  expect(described).toMatch(/Rock Ridge signatures version 1 found/);
  const { stdout } = await run("blkid", ["-p", "-o", "export", path]);
  expect(stdout).toMatch(/^LABEL=cidata$/m);
  expect(stdout).toMatch(/^TYPE=iso9660$/m);
});

test("Linux boots from an overlay, finds the seed, and reads all by either extension", async () => {
  const base = await tinyGuestDisk();
  const overlay = join(dir, "root.qcow2");
  const { virtualSizeBytes } = await inspectImage(base);
  await createOverlay(overlay, { virtualSizeBytes: virtualSizeBytes * 2 });
  const guest = startGuest([
    ...[
      "-blockdev",
      `driver=qcow2,node-name=base,read-only=on,file.driver=file,file.filename=${base}`,
    ],
    ...[
      "-blockdev",
      `driver=qcow2,node-name=root,backing=base,file.driver=file,file.filename=${overlay}`,
    ],
    ...["-device", "virtio-blk-pci,drive=root,bootindex=1"],
    ...["seed", "drive"].flatMap((name) => [
      "-drive",
      `if=virtio,format=raw,readonly=on,file=${join(dir, `${name}.iso`)}`,
    ]),
  ]);
  try {
    await guest.until("SEED nocloud name=seeded user-data: #cloud-config");
    await guest.until("SEED configdrive name=driven user-data: #!/bin/sh");
    await guest.until("tiny# ");
    for (const options of ["ro", "ro,norock"]) {
      guest.type(
        `mount -t iso9660 -o ${options} /dev/vdb /run/seed && ls -1 /run/seed && umount /run/seed; echo E""ND`,
      );
      expect(await guest.until("END\r\n")).toMatch(
        /\nmeta-data\r\nnetwork-config\r\nuser-data\r\n/,
      );
      guest.type(
        `mount -t iso9660 -o ${options} /dev/vdc /run/seed; cd /run/seed/many; cat $(ls | sort -t- -k7n); cd /; umount /run/seed; echo E""ND`,
      );
      const numbers = Array.from({ length: 60 }, (_, i) => String(i)).join("");
      expect(await guest.until("END\r\n")).toContain(`${numbers}END`);
      const name = options === "ro" ? LONG : `${LONG.slice(0, 5 + 62)}~1`;
      guest.type(
        `mount -t iso9660 -o ${options} /dev/vdc /run/seed; cat /run/seed/${name}; umount /run/seed; echo E""ND`,
      );
      expect(await guest.until("END\r\n")).toContain("\nof a long name\r\n");
    }
  } finally {
    await guest.kill();
  }
  const { stdout } = await run("qemu-img", ["check", "-f", "qcow2", overlay]);
  expect(stdout).toContain("No errors were found");
});

/** A machine under software emulation with its console on our pipes. */
function startGuest(disks: readonly string[]) {
  const machine = [
    "-accel",
    "tcg",
    "-m",
    "192",
    "-nodefaults",
    "-display",
    "none",
    "-serial",
    "stdio",
  ];
  const child = spawn("qemu-system-x86_64", [...machine, ...disks], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  let seen = "";
  let notify = (): void => undefined;
  child.stdout.setEncoding("latin1").on("data", (chunk: string) => {
    seen += chunk;
    notify();
  });
  const consume = async (words: string): Promise<string> => {
    for (;;) {
      const at = seen.indexOf(words);
      if (at >= 0) {
        const before = seen.slice(0, at + words.length);
        seen = seen.slice(at + words.length);
        return before;
      }
      await new Promise<void>((resolve) => (notify = resolve));
    }
  };
  return {
    until: (words: string) => withDeadline(`console shows ${words}`, 100_000, consume(words)),
    type: (line: string) => child.stdin.write(`${line}\n`),
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
