// Keys and passwords that are in a pod's volumes, in a guest that runs: its own qemu-guest-agent gives them to its users.
import { mkdir, readFile, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import type { RunningPod } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BOOT_MS, NodeUnderTest, READY } from "./node-under-test.ts";
import { PodOfTest } from "./pod-pair.ts";

const KEYS = ["AAEC", "AwQF", "BgcI"].map(
  (end) => `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscH${end}`,
);

let at: NodeUnderTest;
let pod: RunningPod;
let version = 0;

const place = (secret: string): string => join(at.node.dir, `secret-${secret}`);

/** Writes a volume anew, as kubelet does. */
async function write(secret: string, files: Readonly<Record<string, string>>): Promise<void> {
  const dir = place(secret);
  version += 1;
  await mkdir(join(dir, `..v${version}`), { recursive: true });
  for (const [key, text] of Object.entries(files)) {
    await writeFile(join(dir, `..v${version}`, key), text);
    await rm(join(dir, key), { force: true });
    await symlink(`..data/${key}`, join(dir, key));
  }
  await symlink(`..v${version}`, join(dir, "..next"));
  await rename(join(dir, "..next"), join(dir, "..data"));
  const gone = (await readdir(dir)).filter((key) => !key.startsWith("..") && !(key in files));
  for (const key of gone) await rm(join(dir, key));
}

beforeAll(async () => {
  at = await NodeUnderTest.start("2.4");
  await write("admins", { one: `${KEYS[0] ?? ""}\n`, two: KEYS[1] ?? "" });
  await write("logins", { root: "first word\n" });
  const annotations = {
    "trine.dev/memory": "128Mi",
    "trine.dev/user-keys-from": "root=secret/admins",
    "trine.dev/passwords-from": "secret/logins",
  };
  const of = { name: "users", image: at.tiny, handler: "trine-vm", annotations };
  const made = await PodOfTest.start(at.node, of);
  const mounts = ["admins", "logins"].map((secret) => ({
    ...{ containerPath: `/trine.dev/secret/${secret}`, hostPath: place(secret), readonly: true },
  }));
  pod = await made.run({ image: { image: at.tiny }, mounts });
  await at.node.untilOutput(pod, READY, BOOT_MS);
}, 1_800_000);

afterAll(async () => {
  await at.node.remove(pod);
  await at.end();
});

/** The small guest's root lives in its root. */
const AUTHORIZED = "/.ssh/authorized_keys";
const TOLD = "/told";
/** The small guest has no chpasswd: this one writes down what the agent tells it. */
const CHPASSWD = `printf '#!/bin/sh\ncat >> ${TOLD}\n' > /bin/chpasswd && chmod 755 /bin/chpasswd`;

/** What a file of the guest says, once `is` holds for it. */
function untilFile(path: string, is: (text: string) => boolean): Promise<string> {
  return pollUntil(`${path} of the guest`, { ms: BOOT_MS, everyMs: 500 }, async () => {
    const { stdout } = await at.sh(pod, `cat ${path}`);
    return is(stdout) ? stdout : undefined;
  });
}

test(
  "keys and passwords of volumes reach the guest, and follow them through a restart of trined",
  async () => {
    const [a = "", b = "", c = ""] = KEYS;
    expect(await at.sh(pod, CHPASSWD)).toMatchObject({ exitCode: 0 });
    await untilFile(AUTHORIZED, (text) => text.includes(a) && text.includes(b));
    await untilFile(TOLD, (text) => text !== "");
    // The agent ends its file without a line's end.
    await at.sh(pod, `printf '\\n# mine\\n' >> ${AUTHORIZED}`);

    await at.node.killTrined();
    await write("admins", { one: b, three: c });
    await write("logins", { root: "second word" });
    await at.node.startTrined();
    const isNew = (text: string): boolean => text.includes(c) && !text.includes(a);
    const after = await untilFile(AUTHORIZED, isNew);
    expect(after).toContain("# mine");
    expect(after.split(b)).toHaveLength(2);
    // Once each: the daemon that came back did not set the first again.
    const told = await untilFile(TOLD, (text) => text.includes("second"));
    expect(told).toBe("root:first word\nroot:second word\n");
    const log = await readFile(join(at.node.dir, "trined.log"), "utf8");
    expect(log).toContain("the password of a user of the guest was set");
    expect(log).not.toMatch(/(first|second) word/);
  },
  3 * BOOT_MS,
);
