import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { HttpSettings } from "./fetch/http-client.ts";

/** A server of the test's own on loopback. */
export interface TestServer {
  readonly port: number;
  readonly url: string;
  close(): Promise<void>;
}

/** `tls`: a directory that `makeAuthority` has filled. */
export async function startServer(listener: RequestListener, tls?: string): Promise<TestServer> {
  const server: Server =
    tls === undefined
      ? createServer(listener)
      : createTlsServer(
          {
            ...{
              key: readFileSync(join(tls, "key.pem")),
              cert: readFileSync(join(tls, "cert.pem")),
            },
            // Who has a certificate shows it; whose it is, is the test's to judge.
            ...{ requestCert: true, rejectUnauthorized: false },
          },
          listener,
        );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An authority (ca.pem) and a certificate by it for 127.0.0.1 (key.pem, cert.pem). */
export function makeAuthority(dir: string): void {
  const openssl = (...args: string[]): void => {
    execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=test authority",
  );
  openssl("req", ...key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=127.0.0.1");
  const extensions = "subjectAltName=IP:127.0.0.1";
  const config = join(dir, "extensions");
  execFileSync("sh", ["-c", 'printf %s "$1" >"$2"', "sh", extensions, config]);
  const by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", config];
  openssl("x509", "-req", "-in", "request.pem", ...by, "-out", "cert.pem");
}

/** Serves one file as a careful server does: ETag, Range, If-Range. Counts what it is asked. */
export class FileServer {
  body: Buffer;
  etag: string;
  readonly asked: { range: string | undefined; authorization: string | undefined }[] = [];
  /** Ends the next answers after so many bytes. */
  cuts: number[] = [];

  constructor(body: Buffer, etag = '"v1"') {
    this.body = body;
    this.etag = etag;
  }

  readonly listener: RequestListener = (request, response) => {
    const { range, authorization, "if-range": validator } = request.headers;
    this.asked.push({ range, authorization });
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    const goesOn = start > 0 && validator === this.etag;
    const part = goesOn ? this.body.subarray(start) : this.body;
    response.setHeader("etag", this.etag);
    response.setHeader("content-length", part.length);
    if (goesOn) {
      const last = this.body.length - 1;
      response.setHeader("content-range", `bytes ${start}-${last}/${this.body.length}`);
    }
    response.writeHead(goesOn ? 206 : 200);
    const cut = this.cuts.shift();
    if (cut === undefined) response.end(part);
    else response.write(part.subarray(0, cut), () => response.socket?.destroySoon());
  };
}

export function httpOf(settings: Partial<HttpSettings> = {}): HttpSettings {
  return { environment: {}, credentials: () => undefined, stallMs: 10_000, ...settings };
}
