import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { hostsHook } from "./hosts-hook.ts";

const run = promisify(execFile);
const LINE = "169.254.77.1 containers.trine.internal\n";
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-hosts-hook-"));
  await mkdir(join(dir, "etc/cloud/templates"), { recursive: true });
});
afterEach(() => rm(dir, { recursive: true }));

const at = (name: string): string => join(dir, "etc", name);
const text = (name: string): Promise<string> => readFile(at(name), "utf8");

/** The script in a directory of its own instead of the guest's root. */
async function boot(address: string): Promise<void> {
  const here = hostsHook(address).replaceAll("/etc/", `${dir}/etc/`);
  await run("/bin/sh", ["-c", here.replaceAll("/dev/kmsg", join(dir, "said"))]);
}

test("the name is in the hosts file and in what cloud-init writes it from, once, and all else stays", async () => {
  await writeFile(at("hosts"), "127.0.0.1 localhost\n192.0.2.1 other\n", { mode: 0o640 });
  await writeFile(
    at("cloud/templates/hosts.debian.tmpl"),
    "## template:jinja\n127.0.1.1 {{fqdn}}\n",
  );
  for (let times = 0; times < 2; times++) await boot("169.254.77.1");
  expect(await text("hosts")).toBe(`127.0.0.1 localhost\n192.0.2.1 other\n${LINE}`);
  expect((await stat(at("hosts"))).mode & 0o777).toBe(0o640);
  expect(await text("cloud/templates/hosts.debian.tmpl")).toBe(
    `## template:jinja\n127.0.1.1 {{fqdn}}\n${LINE}`,
  );
});

test("on a root that stays another address takes the former one's place", async () => {
  await writeFile(at("hosts"), `${LINE}127.0.0.1 localhost\n`);
  await boot("fd10:0:77::1");
  expect(await text("hosts")).toBe("127.0.0.1 localhost\nfd10:0:77::1 containers.trine.internal\n");
});

test("a link stays a link, and where there is no hosts file one is made", async () => {
  await boot("169.254.77.1");
  expect(await text("hosts")).toBe(LINE);
  await rm(at("hosts"));
  await writeFile(at("real"), "");
  await symlink("real", at("hosts"));
  await boot("169.254.77.1");
  expect(await text("real")).toBe(LINE);
  expect(await text("hosts")).toBe(LINE);
});

test("what is no address is refused", () => {
  expect(() => hostsHook("1.2.3.4; reboot")).toThrow(/hosts: .*is no address/);
});
