import { expect, test } from "vitest";
import { after, before, credentialSteps } from "./credential-steps.ts";
import type { GivenCredentials, WantedCredentials } from "./credential-steps.ts";

const NONE: GivenCredentials = { keys: {}, begun: {}, passwords: {}, salt: "00" };

function wanted(
  keys: Readonly<Record<string, readonly string[]>>,
  passwords: Readonly<Record<string, string>> = {},
): WantedCredentials {
  return { keys: new Map(Object.entries(keys)), passwords: new Map(Object.entries(passwords)) };
}

/** As if all that was to be done was done. */
function given(what: WantedCredentials, from = NONE): GivenCredentials {
  return credentialSteps(what, from, false).reduce(
    (noted, step) => after(before(noted, step), step),
    from,
  );
}

test.each<[string, WantedCredentials, GivenCredentials, boolean, object[]]>([
  [
    "a first time",
    wanted({ root: ["A", "B"] }, { root: "secret" }),
    NONE,
    false,
    [
      { do: "addKeys", user: "root", keys: ["A", "B"] },
      { do: "setPassword", user: "root", password: "secret" },
    ],
  ],
  [
    "the same",
    wanted({ root: ["A"] }, { root: "p" }),
    given(wanted({ root: ["A"] }, { root: "p" })),
    false,
    [],
  ],
  [
    "another key and another password",
    wanted({ root: ["B"] }, { root: "q", web: "p" }),
    given(wanted({ root: ["A"] }, { root: "p", web: "p" })),
    false,
    [
      { do: "addKeys", user: "root", keys: ["B"] },
      { do: "removeKeys", user: "root", keys: ["A"] },
      { do: "setPassword", user: "root", password: "q" },
    ],
  ],
  [
    "a guest that may have lost its keys; its passwords stay as they are",
    wanted({ root: ["A"] }, { root: "p" }),
    given(wanted({ root: ["A"] }, { root: "p" })),
    true,
    [{ do: "addKeys", user: "root", keys: ["A"] }],
  ],
  [
    "a user of whom nothing is said any more: keys go, a password has none before it",
    wanted({}),
    given(wanted({ web: ["A"] }, { web: "p" })),
    true,
    [{ do: "removeKeys", user: "web", keys: ["A"] }],
  ],
  [
    "names that objects have themselves",
    wanted({ constructor: ["A"] }, { toString: "p" }),
    NONE,
    false,
    [
      { do: "addKeys", user: "constructor", keys: ["A"] },
      { do: "setPassword", user: "toString", password: "p" },
    ],
  ],
])("what is to be done: %s", (_, what, noted, anew, steps) => {
  expect(credentialSteps(what, noted, anew)).toEqual(steps);
});

test("a daemon that dies before or after any step leaves what the next one ends", () => {
  const from = given(wanted({ root: ["A"], web: ["A"] }, { root: "p" }));
  const to = wanted({ root: ["B"] }, { root: "q" });
  const count = credentialSteps(to, from, false).length;
  for (let dies = 0; dies < count; dies += 1) {
    for (const isDone of [false, true]) {
      const guest = new Set(["root A", "web A"]);
      const passwords = new Map([["root", "p"]]);
      const run = (noted: GivenCredentials, most: number): GivenCredentials => {
        let now = noted;
        for (const [index, step] of credentialSteps(to, noted, false).entries()) {
          now = before(now, step);
          if (index === most && !isDone) break;
          if (step.do === "setPassword") passwords.set(step.user, step.password);
          else
            for (const key of step.keys)
              if (step.do === "addKeys") guest.add(`${step.user} ${key}`);
              else guest.delete(`${step.user} ${key}`);
          if (index === most) break; // it is done, and not noted
          now = after(now, step);
        }
        return now;
      };
      const last = run(run(from, dies), Infinity);
      expect([[...guest], passwords.get("root")]).toEqual([["root B"], "q"]);
      expect(credentialSteps(to, last, false)).toEqual([]);
    }
  }
});

test("what is noted has no password in it, and the same one of two users looks different", () => {
  const noted = given(wanted({}, { root: "hunter2", web: "hunter2" }));
  expect(JSON.stringify(noted)).not.toContain("hunter2");
  expect(noted.passwords["root"]).not.toBe(noted.passwords["web"]);
});
