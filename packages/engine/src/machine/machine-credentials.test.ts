import { mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { GuestAgent } from "@trine/guest-link";
import { AgentRefusal, FakeGuestAgent } from "@trine/guest-link/testing";
import type { MachineReport } from "@trine/node-door";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import { MachineCredentials } from "./machine-credentials.ts";

const KEYS = ["AAEC", "AwQF", "BgcI"].map(
  (end) => `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscH${end}`,
);
const PASSWORD = "correct horse: battery=staple";

let dir: string;
let guest: Guest;
let version = 0;

/** A guest with users, and all that a daemon has of its pod. */
class Guest {
  readonly life = new AbortController();
  readonly keys = new Map<string, string[]>([["root", ["its own"]]]);
  readonly passwords: string[] = [];
  readonly logged: string[] = [];
  record: MachineRecord;
  isThere = true;
  readonly #fake: FakeGuestAgent;
  readonly #agent: GuestAgent;

  constructor(bundle: string, without: readonly string[] = []) {
    this.record = { bundle, state: "running" } as MachineRecord;
    const handlers = {
      "guest-ssh-add-authorized-keys": ({ username, keys }: Record<string, unknown>) => {
        const has = this.#keysOf(String(username));
        for (const key of keys as string[]) if (!has.includes(key)) has.push(key);
        return {};
      },
      "guest-ssh-remove-authorized-keys": ({ username, keys }: Record<string, unknown>) => {
        const has = this.#keysOf(String(username));
        const left = has.filter((key) => !(keys as string[]).includes(key));
        this.keys.set(String(username), left);
        return {};
      },
      "guest-set-user-password": ({ username, password, crypted }: Record<string, unknown>) => {
        const text = Buffer.from(String(password), "base64").toString();
        if (!this.keys.has(String(username))) throw new AgentRefusal(`no user for ${text}`);
        this.passwords.push(`${String(username)}:${text}:${String(crypted)}`);
        return {};
      },
    };
    const kept = Object.entries(handlers).filter(([name]) => !without.includes(name));
    this.#fake = new FakeGuestAgent(Object.fromEntries(kept));
    this.#agent = new GuestAgent(this.#fake, { signal: this.life.signal });
  }

  #keysOf(user: string): string[] {
    const has = this.keys.get(user);
    if (has === undefined) throw new AgentRefusal(`failed to look up user '${user}'`);
    return has;
  }

  /** As a daemon that has just found the machine. */
  daemon(): MachineCredentials {
    const log = pino({ level: "trace" }, { write: (line: string) => this.logged.push(line) });
    const pod = {
      document: { machine: this.record },
      sandbox: { annotations: {} },
      deps: {},
      log,
      save: () => {
        this.record = structuredClone(this.record);
        return Promise.resolve();
      },
    } as unknown as PodContext;
    Object.defineProperty(pod.document, "machine", { get: () => this.record });
    const credentials = new MachineCredentials(pod, () => (this.isThere ? this.#agent : undefined));
    credentials.begin(this.life.signal);
    return credentials;
  }
}

/** Writes a volume anew, as kubelet does: all of it at once. */
async function volume(name: string, files: Readonly<Record<string, string>>): Promise<void> {
  const at = join(dir, name);
  version += 1;
  await mkdir(join(at, `..v${version}`), { recursive: true });
  for (const [key, text] of Object.entries(files)) {
    await writeFile(join(at, `..v${version}`, key), text);
    await rm(join(at, key), { force: true });
    await symlink(`..data/${key}`, join(at, key));
  }
  await symlink(`..v${version}`, join(at, "..next"));
  await rename(join(at, "..next"), join(at, "..data"));
  const gone = (await readdir(at)).filter((key) => !key.startsWith("..") && !(key in files));
  for (const key of gone) await rm(join(at, key));
}

/** A container with these annotations, and a volume of each Secret. */
async function bundle(annotations: Readonly<Record<string, string>>): Promise<string> {
  const mounts = ["admins", "logins"].map((name) => ({
    ...{ destination: `/trine.dev/secret/${name}`, type: "bind" },
    ...{ source: join(dir, name), options: ["rbind", "ro"] },
  }));
  await writeFile(join(dir, "config.json"), JSON.stringify({ annotations, mounts }));
  return dir;
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-credentials-"));
  await volume("admins", { one: `${KEYS[0]}\n`, two: KEYS[1] ?? "" });
  await volume("logins", { root: `${PASSWORD}\n` });
});
afterEach(async () => {
  guest.life.abort();
  await rm(dir, { recursive: true });
});

const BOTH = {
  "trine.dev/user-keys-from": "root=secret/admins",
  "trine.dev/passwords-from": "secret/logins",
};

/** After a look that finds what is wanted. */
function until(
  credentials: MachineCredentials,
  is: (said: NonNullable<MachineReport["credentials"]>) => boolean,
): Promise<NonNullable<MachineReport["credentials"]>> {
  return pollUntil("what is said of credentials", { ms: 20_000, everyMs: 5 }, () => {
    const { said } = credentials;
    if (said !== undefined && is(said)) return said;
    credentials.soon();
    return undefined;
  });
}

test("keys and passwords of Secrets reach the guest, and follow their changes", async () => {
  guest = new Guest(await bundle(BOTH));
  const credentials = guest.daemon();
  await until(credentials, ({ synchronized }) => synchronized);
  expect(guest.keys.get("root")).toEqual(["its own", KEYS[0], KEYS[1]]);
  expect(guest.passwords).toEqual([`root:${PASSWORD}:false`]);

  await volume("admins", { one: KEYS[2] ?? "", two: "# nobody\n" });
  await volume("logins", { root: "another" });
  await until(credentials, () => guest.keys.get("root")?.includes(KEYS[2] ?? "") === true);
  await until(credentials, () => guest.passwords.length > 1);
  await until(credentials, () => guest.keys.get("root")?.length === 2);
  expect(guest.keys.get("root")).toEqual(["its own", KEYS[2]]);
  expect(guest.passwords).toEqual([`root:${PASSWORD}:false`, "root:another:false"]);
  const kept = JSON.stringify(guest.record) + guest.logged.join("");
  expect(kept).not.toContain("battery");
  expect(kept).not.toContain(Buffer.from(PASSWORD).toString("base64").slice(0, 12));
});

test("the next daemon sets no password again, and gives a guest its keys that has lost them", async () => {
  guest = new Guest(await bundle(BOTH));
  const first = guest.daemon();
  await until(first, ({ synchronized }) => synchronized);
  first.stop();
  expect(first.said).toBeUndefined();
  guest.keys.set("root", []);
  const second = guest.daemon();
  await until(second, ({ synchronized }) => synchronized);
  expect(guest.keys.get("root")).toEqual([KEYS[0], KEYS[1]]);
  expect(guest.passwords).toHaveLength(1);
  await volume("admins", { one: "", two: KEYS[1] ?? "" });
  await until(second, () => guest.keys.get("root")?.length === 1);
  expect(guest.keys.get("root")).toEqual([KEYS[1]]);
});

test("what fails is said without the guest's words, and the rest is done", async () => {
  await volume("logins", { root: "fine", nobody: PASSWORD });
  const keys = { "trine.dev/user-keys-from": "nobody=secret/admins,root=secret/admins" };
  guest = new Guest(await bundle({ ...BOTH, ...keys }));
  const said = await until(guest.daemon(), () => true);
  expect(said).toEqual({
    synchronized: false,
    message:
      "guest-ssh-add-authorized-keys for nobody: the guest refuses: is there such a user?; guest-set-user-password for nobody: the guest refuses: is there such a user?",
  });
  expect(guest.keys.get("root")).toContain(KEYS[0]);
  expect(guest.passwords).toEqual(["root:fine:false"]);
  expect(JSON.stringify(said) + guest.logged.join("")).not.toContain("battery");
});

test.each([
  [
    "an agent that knows no keys",
    { without: ["guest-ssh-add-authorized-keys"] },
    "guest-ssh-add-authorized-keys for root: the guest's agent does not know or allow it (qemu-guest-agent 5.2 does)",
  ],
  ["no agent", { isThere: false }, "the machine has no channel to a guest agent"],
  [
    "a key that is none",
    { admins: { one: "hunter2" } },
    "annotation trine.dev/user-keys-from: line 1: does not start with a key type",
  ],
  [
    "a password of two lines",
    { logins: { root: "a\nweb:b" } },
    'annotation trine.dev/passwords-from: the password of "root" has several lines',
  ],
] as const)("with %s the reason is said", async (_, how, why) => {
  const {
    without = [],
    isThere = true,
    admins,
    logins,
  } = how as {
    without?: readonly string[];
    isThere?: boolean;
    admins?: Record<string, string>;
    logins?: Record<string, string>;
  };
  if (admins !== undefined) await volume("admins", admins);
  if (logins !== undefined) await volume("logins", logins);
  guest = new Guest(await bundle(BOTH), without);
  guest.isThere = isThere;
  const said = await until(guest.daemon(), () => true);
  expect(said.synchronized).toBe(false);
  expect(said.message).toContain(why);
  expect(said.message).not.toContain("hunter2");
});
