import { once } from "node:events";
import { type IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { connect as connectPlain } from "node:net";
import { type TLSSocket, connect } from "node:tls";
import { pollUntil, withDeadline } from "@trine/base";
import { createAuthority, issue } from "@trine/certificates";
import { CLAIMS, CONFIG_MAPS, PODS, SECRETS } from "@trine/kube-client";
import { FILLER_LABEL } from "@trine/node-door";
import { serveUploads, serveVirtApi } from "@trine/virt-api";
import { testDeps } from "@trine/virt-api/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SERVING } from "./own-certificates.ts";
import type { ControlProcess } from "./process.ts";
import { serveApi } from "./serve-api.ts";

const UPLOADS = "/apis/upload.cdi.kubevirt.io/v1beta1/namespaces/shop/uploadtokenrequests";

let deps: Awaited<ReturnType<typeof testDeps>>;
let api: Awaited<ReturnType<typeof serveVirtApi>>;
let uploads: Awaited<ReturnType<typeof serveUploads>>;
let serving: Awaited<ReturnType<typeof issue>>;
/** Comes before it is said who somebody is. */
let held: () => Promise<unknown>;

beforeEach(async () => {
  held = () => Promise.resolve();
  deps = await testDeps();
  const authority = await createAuthority({ name: "front", lifeMs: 3_600_000, nowMs: Date.now() });
  serving = await issue(authority, {
    subject: { name: "virt-api", dnsNames: ["localhost"] },
    usages: ["serverAuth"],
    lifeMs: 3_600_000,
    nowMs: Date.now(),
  });
  await deps.kube.create(CONFIG_MAPS, {
    metadata: { namespace: "kube-system", name: "extension-apiserver-authentication" },
    data: { "requestheader-client-ca-file": authority.certificate },
  });
  const reviewer = {
    request: async (_method: string, path: string) => {
      await held();
      const status = path.includes("tokenreviews")
        ? { authenticated: true, user: { username: "a", groups: [] } }
        : { allowed: true };
      return { status };
    },
  };
  const options = { ...deps, reviewer, listen: "127.0.0.1:0", serving };
  api = await serveVirtApi(options);
  uploads = await serveUploads(options);
});

afterEach(async () => {
  deps.door.close();
  await Promise.all([api.close(), uploads.close()]);
});

function ask(
  method: string,
  path: string,
  headers: Record<string, string>,
  { port }: { readonly port: number } = api,
) {
  const of = { host: "127.0.0.1", port, rejectUnauthorized: false, agent: false };
  return httpsRequest({ ...of, method, path, headers });
}

async function answerTo(
  sent: ReturnType<typeof ask>,
): Promise<Pick<IncomingMessage, "statusCode" | "headers">> {
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  response.resume();
  return response;
}

test("a page of another origin may ask to upload, and nothing else is at that port", async () => {
  const origin = { origin: "https://console.test", "access-control-request-method": "POST" };
  const preflight = await answerTo(ask("OPTIONS", "/v1beta1/upload-form-async", origin, uploads));
  expect(preflight.statusCode).toBe(200);
  expect(preflight.headers).toMatchObject({
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "authorization, content-type",
  });
  expect((await answerTo(ask("GET", "/healthz", {}, uploads))).statusCode).toBe(200);
  for (const path of [
    "/",
    UPLOADS,
    "/apis/subresources.kubevirt.io/v1/version",
    "/virtualmachines-mutate",
  ]) {
    expect((await answerTo(ask("POST", path, {}, uploads))).statusCode).toBe(404);
  }
  // Nor uploads at the port that nobody but the API server is to reach.
  expect((await answerTo(ask("HEAD", "/v1beta1/upload", {}))).statusCode).not.toBe(200);
});

test("a connection that is not used stays longer than the API server keeps it", async () => {
  const agent = new Agent({ keepAlive: true });
  try {
    const path = "/apis/subresources.kubevirt.io/v1/version";
    const of = { host: "127.0.0.1", port: api.port, rejectUnauthorized: false, agent };
    const { headers } = await answerTo(httpsRequest({ ...of, path }));
    const [, seconds] = /timeout=(\d+)/.exec(String(headers["keep-alive"])) ?? [];
    expect(Number(seconds)).toBeGreaterThan(90);
  } finally {
    agent.destroy();
  }
});

test("an upload that goes on does not keep the server from ending, and is told to come again", async () => {
  const owner = { apiVersion: "v1", kind: "DataVolume", name: "d", uid: "dv", controller: true };
  const at = { namespace: "shop", name: "d" };
  await deps.kube.create(CLAIMS, { metadata: { ...at, ownerReferences: [owner] }, spec: {} });
  const pod = await deps.kube.create(PODS, {
    metadata: { ...at, labels: { [FILLER_LABEL]: "dv" } },
    spec: { nodeName: "node-1", containers: [] },
  });
  await deps.kube.update(PODS, { ...pod, status: { phase: "Running" } }, { subresource: "status" });
  const tokens = ask("POST", UPLOADS, { authorization: "Bearer a" });
  tokens.end(JSON.stringify({ spec: { pvcName: "d" } }));
  const [made] = (await once(tokens, "response")) as [IncomingMessage];
  const { status } = (await new Response(made as never).json()) as { status: { token: string } };
  const upload = ask(
    "POST",
    "/v1beta1/upload",
    {
      authorization: `Bearer ${status.token}`,
      "content-length": "1000",
    },
    uploads,
  );
  upload.write("some");
  const answered = once(upload, "response") as Promise<[IncomingMessage]>;
  await pollUntil("it goes on", { ms: 10_000 }, () => deps.door.opened[0]);
  await withDeadline("close", 5_000, uploads.close());
  expect((await answered)[0].statusCode).toBe(503);
});

test("what is being answered when it ends is the last of its connection", async () => {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const reached = Promise.withResolvers<undefined>();
  held = () => {
    reached.resolve(undefined);
    return promise;
  };
  const agent = new Agent({ keepAlive: true });
  try {
    const to = { host: "127.0.0.1", port: api.port, rejectUnauthorized: false, agent };
    const headers = { authorization: "Bearer a" };
    const asked = httpsRequest({ ...to, method: "POST", path: UPLOADS, headers });
    asked.end("{}");
    await reached.promise;
    const answered = once(asked, "response") as Promise<[IncomingMessage]>;
    const ended = api.close();
    resolve(undefined);
    expect((await answered)[0].headers.connection).toBe("close");
    await withDeadline("close", 4_000, ended);
  } finally {
    agent.destroy();
  }
});

test("where uploads cannot be taken nothing else is served", async () => {
  const { port } = api;
  await api.close();
  const secrets = deps.kube.cache(SECRETS);
  const process = {
    ...{ client: deps.kube, secrets, logger: deps.logger, version: "0" },
    ...{ metrics: { streamOpened: () => () => undefined }, settings: { now: () => ({}) } },
    config: {
      ...{ namespace: "trine-system", apiListen: `127.0.0.1:${port}` },
      uploadListen: `127.0.0.1:${uploads.port}`,
    },
  };
  const refused = serveApi(
    process as unknown as ControlProcess,
    () => undefined,
    new AbortController().signal,
  );
  const of = (text: string): string => Buffer.from(text).toString("base64");
  const data = { "tls.crt": of(serving.certificate), "tls.key": of(serving.key), "ca.crt": of("") };
  await deps.kube.create(SECRETS, { metadata: { namespace: "trine-system", name: SERVING }, data });
  await expect(refused).rejects.toMatchObject({ code: "EADDRINUSE" });
  const socket = connectPlain({ host: "127.0.0.1", port });
  await expect(once(socket, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

test.each([
  ["GET", "/apis/subresources.kubevirt.io/v1/version", false],
  ["HEAD", "/v1beta1/upload", true],
  ["POST", "/v1beta1/upload", true],
  ["POST", "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachines/a/start", false],
] as const)(
  "who trickles a body to %s %s that nobody reads is answered and left",
  async (...of) => {
    const [method, path, isUpload] = of;
    const { port } = isUpload ? uploads : api;
    const to = { host: "127.0.0.1", port, rejectUnauthorized: false };
    const socket: TLSSocket = connect(to);
    socket.on("error", () => undefined);
    const left = once(socket, "close");
    socket.write(`${method} ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\n\r\n`);
    const trickle = setInterval(() => socket.write("x"), 50);
    try {
      const [answer] = (await once(socket, "data")) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 \d+/);
      await withDeadline("the end of the connection", 5_000, left);
    } finally {
      clearInterval(trickle);
      socket.destroy();
    }
  },
);
