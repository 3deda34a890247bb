import { expect, test } from "vitest";
import { ERROR_KINDS } from "@trine/base";
import { EXIT_CODES } from "../io.ts";
import { NodeClient } from "./node-client.ts";
import { listing, samplePod, withNodeApi } from "../testing.ts";

const PODS = [
  samplePod("web", "aaa111"),
  samplePod("db", "aab222"),
  { ...samplePod("web", "ccc333"), podNamespace: "other" },
];

function client(stateDir: string, timeoutMs?: number): NodeClient {
  return new NodeClient({ stateDir, signal: new AbortController().signal }, timeoutMs);
}

test("finds a pod by name, by namespace and name, and by the start of an id", async () => {
  await withNodeApi(listing(...PODS), async (stateDir) => {
    const find = async (name: string): Promise<string> =>
      (await client(stateDir).pod(name)).sandboxId;
    expect(await find("db")).toBe("aab222");
    expect(await find("other/web")).toBe("ccc333");
    expect(await find("aaa")).toBe("aaa111");
    expect(await find("c0ffeeccc")).toBe("ccc333");
  });
});

test("says which pods a name could mean, and which it cannot find", async () => {
  await withNodeApi(listing(...PODS), async (stateDir) => {
    const find = (name: string): Promise<unknown> => client(stateDir).pod(name);
    await expect(find("web")).rejects.toMatchObject({
      kind: "conflict",
      message: "web is not one pod but default/web (aaa111), other/web (ccc333)",
    });
    await expect(find("aa")).rejects.toMatchObject({ kind: "conflict" });
    await expect(find("nothing")).rejects.toMatchObject({
      kind: "notFound",
      message: "no pod nothing on this node; `trine ps` lists them",
    });
    await expect(find("")).rejects.toMatchObject({ kind: "invalid" });
  });
});

test("a daemon that is not there is unavailable, with advice", async () => {
  await expect(client("/nowhere").pods()).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(/\/nowhere\/api\.sock.*ENOENT.*trine doctor/) as string,
  });
});

test("an answer that is an error, no JSON, endless or late is one clear error", async () => {
  const failing = withNodeApi(
    (_, response) => response.writeHead(500).end("the shim is gone\n"),
    (stateDir) => client(stateDir).pods(),
  );
  await expect(failing).rejects.toThrow("the node daemon: the shim is gone");
  const text = withNodeApi(
    (_, response) => response.end("<html>"),
    (stateDir) => client(stateDir).pods(),
  );
  await expect(text).rejects.toThrow(/no JSON/);
  const endless = withNodeApi(
    (_, response) => {
      const more = (): void => {
        while (response.write(Buffer.alloc(1024 * 1024))) continue;
      };
      response.on("drain", more);
      more();
    },
    (stateDir) => client(stateDir).pods(),
  );
  await expect(endless).rejects.toThrow(/more than 16777216 bytes/);
  const late = withNodeApi(
    (_, response) => response.write("{"),
    (stateDir) => client(stateDir, 50).pods(),
  );
  await expect(late).rejects.toMatchObject({ kind: "timeout" });
});

test("an interrupt ends the wait", async () => {
  const abort = new AbortController();
  const waiting = withNodeApi(
    () => {
      abort.abort();
    },
    (stateDir) => new NodeClient({ stateDir, signal: abort.signal }).pods(),
  );
  await expect(waiting).rejects.toMatchObject({ kind: "canceled" });
});

test("every kind of error has an exit code that is not success", () => {
  expect(ERROR_KINDS.filter((kind) => !(EXIT_CODES[kind] > 0))).toEqual([]);
});
