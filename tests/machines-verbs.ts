// A VirtualMachine under the hands of kubectl and virtctl: power, console, display, ports.
import { once } from "node:events";
import { pollUntil } from "@trine/base";
import { expect, test } from "vitest";
import {
  LONG_MS,
  type Machine,
  type MachinesUnderTest,
  Talk,
  machine,
} from "./machines-under-test.ts";

const NAME = "desk";

/** Of an answer with a Status in it. */
function refusal({ code, text }: { code: number; text: string }): [number, string] {
  return [code, (JSON.parse(text) as { message: string }).message];
}

async function uidOf(at: MachinesUnderTest): Promise<string> {
  return (await at.instance(NAME)).metadata.uid ?? "";
}

/** Until the machine runs by another instance than that one. */
async function untilAnother(at: MachinesUnderTest, uid: string): Promise<void> {
  await at.untilInstance(
    NAME,
    "another instance runs",
    ({ metadata, status }) => metadata.uid !== uid && status?.phase === "Running",
  );
  expect(await at.pods(NAME)).toHaveLength(1);
}

export function verbTests(at: () => MachinesUnderTest): void {
  test(
    "a machine starts by virtctl, and its console, display and ports are reached through the API",
    async () => {
      const { virtctl, kubectl } = at();
      await at().create(machine(NAME, "Halted"));
      await at().untilShown(NAME, "Stopped");
      expect(refusal(await virtctl.stop(NAME))).toEqual([
        409,
        expect.stringContaining("VM is not running") as unknown,
      ]);
      expect((await virtctl.start(NAME)).code).toBe(202);
      expect((await at().kubectl.get<Machine>("vm", NAME)).spec).toMatchObject({
        runStrategy: "Always",
      });
      await at().booted(NAME);
      const console_ = await at().console(NAME);
      console_.send("echo through-$((40 + 2))\n");
      await console_.until("through-42");
      const shown = await kubectl.run("get", "vm", NAME, "--no-headers");
      expect(
        shown
          .trim()
          .split(/\s{2,}/)
          .slice(2),
      ).toEqual(["Running", "True"]);
      expect(refusal(await virtctl.start(NAME))).toEqual([
        409,
        expect.stringContaining("VM is already running") as unknown,
      ]);

      const version = JSON.parse((await virtctl.info("version")).text) as { gitVersion: string };
      expect(version.gitVersion).toMatch(/^v1\.9\.0\+trine\./);
      const [, why] = refusal(await virtctl.migrate(NAME));
      expect(why).toMatch(
        /^Internal error occurred: admission webhook .* Cannot migrate VMI, Reason: NotImplemented/,
      );

      const second = await at().console(NAME);
      expect(await console_.closed).toBe(1000);
      second.send("echo taken-$((1 + 1))\n");
      await second.until("taken-2");
      second.end();

      const vnc = new Talk(await virtctl.vnc(NAME));
      await vnc.until(/^RFB 003\.008\n/);
      vnc.send("RFB 003.008\n");
      // One way to prove who one is, which is none.
      await vnc.until("RFB 003.008\n\u0001\u0001");
      vnc.end();
      const picture = await virtctl.screenshot(NAME);
      expect([picture.code, picture.text.slice(1, 4)]).toEqual([200, "PNG"]);

      const ports = await virtctl.portForward("virtualmachines", NAME, 8080, "tcp");
      const web = new Talk(ports);
      web.send("GET / HTTP/1.0\r\n\r\n");
      await web.until(NAME);
      web.end();
      await once(ports, "close");
    },
    3 * LONG_MS,
  );

  test(
    "a machine stands still, answers for its guest, begins anew, and is off",
    async () => {
      const { virtctl } = at();
      expect((await virtctl.pauseVm(NAME, "pause")).code).toBe(200);
      await at().untilShown(NAME, "Paused");
      expect((await virtctl.pauseVm(NAME, "pause")).code).toBe(409);
      expect((await virtctl.pauseVm(NAME, "unpause")).code).toBe(200);
      await at().untilShown(NAME, "Running");

      const info = await pollUntil(
        "the guest's agent answers",
        { ms: LONG_MS, everyMs: 500 },
        async () => {
          const answer = await virtctl.guest(NAME, "guestosinfo");
          return answer.code === 200 ? answer.text : undefined;
        },
      );
      expect(JSON.parse(info)).toMatchObject({ hostname: NAME });
      for (const what of ["userlist", "filesystemlist"] as const) {
        const { code, text } = await virtctl.guest(NAME, what);
        expect([what, code, typeof JSON.parse(text)]).toEqual([what, 200, "object"]);
      }

      const first = await uidOf(at());
      expect((await virtctl.restart(NAME)).code).toBe(202);
      await untilAnother(at(), first);

      // A guest that powers itself off is started again: the machine is to run always.
      await at().booted(NAME);
      const third = await at().console(NAME);
      const second = await uidOf(at());
      third.send("poweroff\n");
      await untilAnother(at(), second);

      expect((await virtctl.stop(NAME)).code).toBe(202);
      await at().untilShown(NAME, "Stopped");
      await at().untilGone("vmi", NAME);
      expect(await at().pods(NAME)).toEqual([]);
      await at().delete("vm", NAME);
    },
    5 * LONG_MS,
  );

  test(
    "what a power-off from within means follows the run strategy",
    async () => {
      const names = { RerunOnFailure: "reruns", Manual: "manual", Once: "once" } as const;
      const all = Object.entries(names);
      await at().create(...all.map(([strategy, name]) => machine(name, strategy)));
      expect((await at().virtctl.start("manual")).code).toBe(202);
      for (const [, name] of all) {
        await at().booted(name);
        const talk = await at().console(name);
        talk.send("poweroff\n");
        await talk.closed;
      }
      for (const [, name] of all) await at().untilShown(name, "Stopped");
      // Only what ran once and what is its user's to start keep the instance that ended.
      await at().untilGone("vmi", "reruns");
      for (const name of ["manual", "once"]) await at().untilPhase(name, "Succeeded");
      await at().delete("vm", ...Object.values(names));
    },
    5 * LONG_MS,
  );
}
