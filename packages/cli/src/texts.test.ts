import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { csvLine } from "./output/print-list.ts";
import { Notes } from "./pods/notes.ts";
import { withoutOverlap } from "./talk/with-past.ts";
import { parsePlace } from "./talk/copy-files.ts";
import { parseLogLine, readLog } from "./show/cri-log.ts";
import { formatAge, parseDuration } from "./commands/duration.ts";
import { parseEventLine } from "./show/events.ts";
import { compileJsonpath } from "./output/jsonpath.ts";
import { parseResolver } from "./pods/node-facts.ts";
import { parsePortPair } from "./talk/port-forward.ts";
import { parseSelector } from "./pods/selector.ts";

test.each([
  ["a=b", true],
  ["a==b,c!=x", true],
  ["a!=b", false],
  ["a in (b, d)", true],
  ["a notin (b)", false],
  ["none notin (b)", true],
  ["a,!none", true],
  ["!a", false],
  ["k8s.io/x=1", true],
  ["toString", false],
])("selector %s", (text, matches) => {
  expect(parseSelector(text)({ a: "b", "k8s.io/x": "1" })).toBe(matches);
});

test.each(["", "a=b,", "a b", "a in b", "=b", "a=b=c", "a in (b;c)"])(
  "selector %j is refused",
  (text) => {
    expect(() => parseSelector(text)).toThrow(/there are KEY=VALUE/);
  },
);

test.each([
  ["{.a.b}", "1"],
  [".a.b", "1"],
  ["{.list[*].n}", "x y"],
  ["{.list[0].n}-{.list[-1].n}", "x-y"],
  [`{.list[?(@.n=="y")].v}`, "2"],
  [`{.a['c.d']}`, "3"],
  [`{.a.c\\.d}`, "3"],
  [`{range .list[*]}{.n}{"\\t"}{end}`, "x\ty\t"],
  ["{.none.x}", ""],
  ["{.a}", `{"b":1,"c.d":3}`],
  ["{.__proto__}", ""],
])("jsonpath %s", (template, text) => {
  const value = {
    a: { b: 1, "c.d": 3 },
    list: [
      { n: "x", v: 1 },
      { n: "y", v: 2 },
    ],
  };
  expect(compileJsonpath(template)(value)).toBe(text);
});

test.each(["{", "{.a", "{a b}", "{range .x}", '{"\\q"}', "{..a}"])(
  "jsonpath %s is refused",
  (template) => {
    expect(() => compileJsonpath(template)).toThrow(/jsonpath/);
  },
);

test("durations and ages", () => {
  expect(["1h30m", "500ms", "0", "5", "1y", "99999d", ""].map(parseDuration)).toEqual([
    ...[5_400_000, 500, 0, undefined, undefined, undefined, undefined],
  ]);
  expect([5e3, 3e5, 4e6 * 3, 3e8].map(formatAge)).toEqual(["5s", "5m", "3h", "3d"]);
});

test("log lines, whole and in parts; a log that is cut in the middle of a line", async () => {
  expect(parseLogLine(Buffer.from("T stdout P part"))).toMatchObject({ text: Buffer.from("part") });
  expect(parseLogLine(Buffer.from("T stderr F "))).toMatchObject({ text: Buffer.from("\n") });
  expect(parseLogLine(Buffer.from("no log line"))).toBeUndefined();
  const dir = await mkdtemp(join(tmpdir(), "trine-log-"));
  const path = join(dir, "log");
  await writeFile(path, "T stdout P a\nT stdout F b\nT stdout F cut");
  const seen: string[] = [];
  const signal = new AbortController().signal;
  for await (const { text } of readLog(path, { signal })) seen.push(String(text));
  expect(seen.join("")).toBe("ab\n");
  let asked = 0;
  const ended = (): Promise<boolean> => Promise.resolve(asked++ > 0);
  for await (const { text } of readLog(join(dir, "none"), { signal, ended }))
    seen.push(String(text));
  expect(seen).toHaveLength(2);
  await rm(dir, { recursive: true });
});

test("what a log has of a terminal's past ends where the live output begins", () => {
  const cut = (past: string, live: string): string =>
    withoutOverlap(Buffer.from(past), Buffer.from(live)).toString();
  expect(cut("a\nprompt> ", "")).toBe("a\nprompt> ");
  expect(cut("a\nb\nc\n", "b\r\nc\r\nd")).toBe("a\n");
  expect(cut("a\nb", "c")).toBe("a\nb");
  expect(cut("", "x")).toBe("");
});

test("a line of CSV quotes what would end a cell or a line", () => {
  expect(csvLine(["a", 'say "b"', "c,d", "e\nf", ""])).toBe('a,"say ""b""","c,d","e\nf",\n');
});

test("notes: failed starts of one's own, from the file of before too, and those that come", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "trine-notes-"));
  const notes = new Notes({ dataDir });
  const note = { type: "StartFailed", namespace: "default", pod: "web" } as const;
  await notes.add({ ...note, message: "x".repeat(5_000) });
  expect((await notes.since(0)).map(({ message }) => message.length)).toEqual([2_000]);
  expect(await notes.since(Date.now() + 1_000)).toEqual([]);
  await writeFile(join(dataDir, "events.log"), `${" ".repeat(1024 * 1024 + 1)}\n{cut`);
  const over = new AbortController();
  const coming = notes.follow(over.signal).next();
  await new Promise((resolve) => setImmediate(resolve));
  await notes.add({ ...note, message: "late" });
  expect((await coming).value).toMatchObject({ pod: "web", message: "late" });
  over.abort();
  await rm(dataDir, { recursive: true });
});

test("places, ports, resolvers and events", () => {
  expect(parsePlace("web:/a:b")).toEqual({ pod: "web", path: "/a:b" });
  expect(parsePlace("team/web:a")).toEqual({ pod: "team/web", path: "a" });
  expect(parsePlace("./a:b")).toEqual({ path: "./a:b" });
  expect(["80", "8080:80", ":80", "0", "1:70000", "a"].map(parsePortPair)).toEqual([
    ...[
      { local: 80, remote: 80 },
      { local: 8080, remote: 80 },
      { local: 0, remote: 80 },
    ],
    ...[undefined, undefined, undefined],
  ]);
  expect(parseResolver("nameserver 1.1.1.1\nsearch a b\nsearch c\noptions x y:1\n# n\n")).toEqual({
    ...{ servers: ["1.1.1.1"], searches: ["c"], options: ["x", "y:1"] },
  });
  const line =
    '2026-11-21 13:05:59.1 +0000 UTC k8s.io /tasks/exit {"container_id":"a","exit_status":3}';
  expect(parseEventLine(line)).toMatchObject({ type: "Exited", fields: { exit_status: 3 } });
  expect(parseEventLine(line.replace("tasks/exit", "snapshot/x"))).toBeUndefined();
  expect(parseEventLine(line.replace("}", ""))).toBeUndefined();
});
