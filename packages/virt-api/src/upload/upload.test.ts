import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { pollUntil } from "@trine/base";
import { CLAIMS, PODS } from "@trine/kube-client";
import { FILLER_LABEL, UploadFrames } from "@trine/node-door";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { refused, send } from "../http/answer.ts";
import { statusOf } from "../refusals/status-of.ts";
import { testDeps } from "../testing/test-deps.ts";
import { requestToken, tokenNamespace } from "./token-requests.ts";
import { takeUpload } from "./upload-proxy.ts";
import { makeToken, readToken } from "./upload-token.ts";

type Deps = Awaited<ReturnType<typeof testDeps>>;

const AT = { namespace: "shop", name: "disk" };
const EC = {
  namedCurve: "P-256",
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
} as const;
const DISK = Buffer.alloc(300_000, "disk");
const signal = new AbortController().signal;

let deps: Deps;
let server: Server;
let uid: string;

beforeEach(async () => {
  deps = await testDeps();
  const owner = {
    apiVersion: "v1",
    kind: "DataVolume",
    name: "disk",
    uid: "dv-1",
    controller: true,
  };
  const claim = await deps.kube.create(CLAIMS, {
    metadata: { ...AT, ownerReferences: [owner] },
    spec: {},
  });
  ({ uid } = claim.metadata);
  const pod = await deps.kube.create(PODS, {
    metadata: { namespace: "shop", name: "import-disk", labels: { [FILLER_LABEL]: "dv-1" } },
    spec: { nodeName: "node-1", containers: [] },
  });
  await deps.kube.update(PODS, { ...pod, status: { phase: "Running" } }, { subresource: "status" });
  server = createServer((request, response) => {
    const left = new AbortController();
    request.on("error", () => undefined);
    response.once("close", () => {
      left.abort(new Error("left"));
    });
    takeUpload(deps, request.url ?? "", request, left.signal).then(
      (answer) => {
        send(response, answer);
      },
      (cause: unknown) => {
        response.setHeader("connection", "close");
        send(response, refused(statusOf(cause)));
      },
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(() => {
  deps.door.close();
  server.closeAllConnections();
  server.close();
});

async function token(name = "disk"): Promise<string> {
  const body = Buffer.from(JSON.stringify({ spec: { pvcName: name } }));
  const answer = await requestToken(deps, "shop", body, signal);
  expect(answer.code).toBe(201);
  return (JSON.parse(String(answer.body)) as { status: { token: string } }).status.token;
}

interface Sent {
  readonly code: number;
  readonly body: string;
}

async function post(
  path: string,
  bearer: string,
  { method = "POST", cutAfter }: { method?: string; cutAfter?: number } = {},
): Promise<Sent> {
  const { port } = server.address() as AddressInfo;
  const headers = {
    authorization: `Bearer ${bearer}`,
    "content-length": method === "HEAD" ? 0 : DISK.length,
  };
  const sent = httpRequest({ host: "127.0.0.1", port, path, method, headers });
  if (cutAfter !== undefined) {
    sent.write(DISK.subarray(0, cutAfter), () => {
      setImmediate(() => sent.destroy());
    });
  } else sent.end(method === "HEAD" ? undefined : DISK);
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return { code: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() };
}

/** The import in its pod, as the door leads to it. */
async function import_(words: readonly object[], refusesAfter?: number): Promise<Buffer> {
  const stream = await pollUntil<Duplex>("a stream", { ms: 10_000 }, () => deps.door.opened[0]);
  const frames = new UploadFrames();
  const found: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    for (const part of frames.read(chunk)) {
      found.push(part);
      bytes += part.length;
    }
    if (frames.isOver || (refusesAfter !== undefined && bytes > refusesAfter)) {
      for (const word of words) stream.write(`${JSON.stringify(word)}\n`);
      return Buffer.concat(found);
    }
  }
  throw new Error("cut off");
}

test.each([
  ["/v1beta1/upload", [{ received: true }, { done: true }]],
  ["/v1beta1/upload-async", [{ received: true }]],
])("%s: all bytes come to the import of the claim", async (path, words) => {
  const [sent, received] = await Promise.all([post(path, await token()), import_(words)]);
  expect(sent.code).toBe(200);
  expect(received.equals(DISK)).toBe(true);
  expect(deps.door.asked).toMatchObject([["upload", { pod: "import-disk" }, "import"]]);
});

test.each(["/v1beta1/upload-form-async", "/v1alpha1/upload-form-async"])(
  "%s: the file of a form comes to the import, and a form that is none is refused",
  async (path) => {
    const { port } = server.address() as AddressInfo;
    const by = async (body: FormData): Promise<Response> => {
      const headers = { authorization: `Bearer ${await token()}` };
      return fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body, headers });
    };
    const whole = new FormData();
    whole.append("file", new Blob([DISK]), "disk.img");
    const [sent, received] = await Promise.all([by(whole), import_([{ received: true }])]);
    expect(sent.status).toBe(200);
    expect(received.equals(DISK)).toBe(true);
    const other = new FormData();
    other.append("image", new Blob([DISK]), "disk.img");
    expect((await by(other)).status).toBe(400);
  },
);

test("a client asks by HEAD which path is there", async () => {
  expect((await post("/v1beta1/upload-async", await token(), { method: "HEAD" })).code).toBe(200);
});

test.each([
  ["when all has come", undefined],
  ["while it is sent", 1_000],
])("what the import refuses is the client's fault, %s", async (_, refusesAfter) => {
  const words = [{ kind: "invalid", message: "is no disk" }];
  const [sent] = await Promise.all([
    post("/v1beta1/upload", await token()),
    import_(words, refusesAfter),
  ]);
  expect(sent).toMatchObject({ code: 400, body: expect.stringContaining("is no disk") as string });
});

test("an import that says words without an end is not listened to", async () => {
  const stream = pollUntil<Duplex>("a stream", { ms: 10_000 }, () => deps.door.opened[0]);
  const sent = post("/v1beta1/upload", await token());
  (await stream).on("error", () => undefined).write(Buffer.alloc(20_000, "x"));
  expect(await sent).toMatchObject({
    code: 503,
    body: expect.stringContaining("longer than 16384 bytes") as string,
  });
});

test("an import whose disk stalls is waited for longer than a client, and not for ever", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"], shouldAdvanceTime: true });
  try {
    for (const [ms, code] of [
      [61_000, 200],
      [301_000, 504],
    ] as const) {
      const nth = deps.door.opened.length;
      const sent = post("/v1beta1/upload-async", await token());
      const stream = await pollUntil<Duplex>(
        "a stream",
        { ms: 10_000 },
        () => deps.door.opened[nth],
      );
      await pollUntil("it is full", { ms: 10_000 }, () => stream.readableLength > 0 || undefined);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await vi.advanceTimersByTimeAsync(ms);
      if (code === 200) void import_([{ received: true }]);
      expect(await sent).toMatchObject({ code });
    }
  } finally {
    vi.useRealTimers();
  }
});

test("an upload that is cut off never ends as a whole one", async () => {
  const bearer = await token();
  const sent = post("/v1beta1/upload", bearer, { cutAfter: 1_000 });
  await Promise.all([
    expect(sent).rejects.toThrow(),
    expect(import_([{ received: true }])).rejects.toThrow(/cut off|Premature|aborted/i),
  ]);
});

test("a token is of one claim, for a while, and by our key", async () => {
  const expires = deps.now().getTime() + 1_000;
  const key = deps.uploadKey();
  const bad = [
    "",
    "a.b",
    `${await token()}x`,
    makeToken({ ...AT, uid, expires: deps.now().getTime() - 1 }, key),
    makeToken({ ...AT, uid: "another", expires }, key),
    makeToken({ namespace: "shop", name: "other", uid, expires }, key),
    makeToken({ ...AT, uid, expires }, generateKeyPairSync("ec", EC).privateKey),
  ];
  for (const each of bad) {
    const { code } = await post("/v1beta1/upload", each);
    expect({ each, code }).toEqual({ each, code: 401 });
  }
  expect(readToken(await token(), key, deps.now())).toMatchObject({ ...AT, uid });
  // Signatures are of several lengths, and of some a decoder leaves out a letter more.
  for (let length = 0; length < 64; length += 1) {
    const own = makeToken({ ...AT, uid: "u".repeat(length), expires }, key);
    expect(readToken(`${own}x`, key, deps.now())).toBeUndefined();
  }
});

test("a claim that is not there gets no token, one that waits for nothing no upload", async () => {
  await expect(token("none")).rejects.toMatchObject({ kind: "notFound" });
  await deps.kube.delete(PODS, { namespace: "shop", name: "import-disk" });
  expect((await post("/v1beta1/upload", await token())).code).toBe(503);
});

test.each([
  ["/apis/upload.cdi.kubevirt.io/v1beta1/namespaces/shop/uploadtokenrequests", "shop"],
  ["/apis/upload.cdi.kubevirt.io/v1beta1/namespaces/Shop/uploadtokenrequests", undefined],
  ["/apis/upload.cdi.kubevirt.io/v1beta1/uploadtokenrequests", undefined],
])("%s is asked in namespace %s", (path, namespace) => {
  expect(tokenNamespace(path)).toBe(namespace);
});
