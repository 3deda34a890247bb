// What an answer says of back ends that have no part in it.
import { pollUntil } from "@trine/base";
import { afterEach, expect, test } from "vitest";
import { frameOf } from "./grpc-frame.ts";
import { Rig, WAIT_MS, sandboxes } from "./testing.ts";

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

const NOTHING = Buffer.alloc(0);

test.each(["ListPodSandbox", "StreamPodSandboxes"])(
  "the end of %s names back ends that did not answer, until they do",
  async (method) => {
    rig = await Rig.start({
      a: { ListPodSandbox: sandboxes("a1") },
      b: { ListPodSandbox: sandboxes("b1") },
    });
    const ask = async (): Promise<unknown> => {
      const { code, trailers, messages } = await rig.client.raw(method, NOTHING);
      const shown = ["a1", "b1"].filter((id) => Buffer.concat(messages).includes(id));
      return [code, shown, trailers["trine-absent"]];
    };
    const all = ["a1", "b1"];
    const known = await rig.client.raw("ListPodSandbox", NOTHING);
    expect([known.code, known.trailers["trine-absent"]]).toEqual([0, undefined]);
    // Neither has streams: the gateway says so of both, and lists it has.
    const isStream = method.startsWith("Stream");
    if (isStream) expect(await ask()).toEqual([12, [], undefined]);
    else expect(await ask()).toEqual([0, all, undefined]);

    await rig.backEnd("b").stop();
    await pollUntil("its end is noticed", { ms: WAIT_MS }, () =>
      rig.gateway.backEnds().find(({ name, down }) => name === "b" && down !== undefined),
    );
    expect(await ask()).toEqual([0, all, "b"]);
    const last = await pollUntil("the call is told of", { ms: WAIT_MS }, () => rig.seen.at(-1));
    expect(last).toMatchObject({ method, absent: ["b"] });

    await rig.backEnd("b").start();
    await pollUntil("it is back", { ms: WAIT_MS }, async () => {
      const { trailers } = await rig.client.raw("ListPodSandbox", NOTHING);
      return trailers["trine-absent"] === undefined || undefined;
    });
  },
);

test("a client that leaves a list makes nobody absent", async () => {
  let isHanging = false;
  const list = sandboxes("a1");
  rig = await Rig.start({
    a: { ListPodSandbox: (request) => (isHanging ? undefined : list(request)) },
  });
  expect((await rig.client.raw("ListPodSandbox", NOTHING)).code).toBe(0);
  const before = [rig.backEnd("a").calls("ListPodSandbox").length, rig.seen.length] as const;
  isHanging = true;
  const call = rig.client.open("ListPodSandbox");
  call.stream.end(frameOf(NOTHING));
  await pollUntil("it arrives", { ms: WAIT_MS }, () =>
    rig.backEnd("a").calls("ListPodSandbox").at(before[0]),
  );
  call.stream.close(8);
  const over = await pollUntil("its end is told", { ms: WAIT_MS }, () => rig.seen.at(before[1]));
  expect(over).toMatchObject({ method: "ListPodSandbox", absent: [] });
  isHanging = false;
  const { code, trailers } = await rig.client.raw("ListPodSandbox", NOTHING);
  expect([code, trailers["trine-absent"]]).toEqual([0, undefined]);
});
