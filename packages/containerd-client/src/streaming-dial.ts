import { TrineError } from "@trine/base";
import { SpdyConnection } from "./spdy-connection.ts";

/**
 * Upgrades a streaming URL (answer of Exec, Attach or PortForward) to SPDY/3.1. containerd serves each
 * such URL once, on loopback. Refused: kind by HTTP status, with the server's words.
 */
export function dialStreaming(
  url: string,
  protocol: "v4.channel.k8s.io" | "portforward.k8s.io",
  options: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<SpdyConnection> {
  // An import statement would read every export of node:http, one of which loads all of undici: 80 ms.
  const { request } = process.getBuiltinModule("node:http");
  const target = new URL(url);
  const timeoutMs = options.timeoutMs ?? 30_000;
  return new Promise((resolve, reject) => {
    const dial = request({
      method: "POST",
      host: target.hostname,
      port: target.port,
      path: target.pathname + target.search,
      headers: {
        connection: "Upgrade",
        upgrade: "SPDY/3.1",
        "x-stream-protocol-version": protocol,
        "content-length": 0,
      },
      timeout: timeoutMs,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    dial.on("upgrade", (response, socket, head) => {
      if (response.headers["x-stream-protocol-version"] !== protocol) {
        socket.destroy();
        reject(new TrineError("unimplemented", `streaming: the server does not speak ${protocol}`));
        return;
      }
      socket.setTimeout(0);
      resolve(new SpdyConnection(socket, head));
    });
    dial.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        if (text.length < 4096) text += chunk;
      });
      response.on("close", () => {
        const status = response.statusCode ?? 0;
        const kind = status === 404 ? "notFound" : status >= 500 ? "internal" : "invalid";
        reject(new TrineError(kind, `streaming: refused with HTTP ${status}: ${text.trim()}`));
      });
    });
    dial.on("timeout", () => {
      dial.destroy(new TrineError("timeout", `streaming: no answer within ${timeoutMs} ms`));
    });
    dial.on("error", (cause) => {
      reject(cause instanceof TrineError ? cause : TrineError.during("streaming", cause));
    });
    dial.end();
  });
}
