import type { ClientRequest, IncomingHttpHeaders } from "node:http";
import { TrineError } from "@trine/base";

/** What a server answered, whole. */
export interface HttpAnswer {
  readonly code: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Of a request that is still to be sent. Rejects where its connection ends before, and where `ms` pass in silence. */
export function answerOf(sent: ClientRequest, ms: number): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  sent.setTimeout(ms, () =>
    sent.destroy(new TrineError("timeout", `${sent.method} ${sent.path}: no answer`)),
  );
  sent.on("error", reject);
  sent.on("response", (response) => {
    const chunks: Buffer[] = [];
    response.on("data", (chunk: Buffer) => chunks.push(chunk));
    response.on("error", reject);
    response.on("end", () => {
      const { statusCode: code = 0, headers } = response;
      resolve({ code, headers, text: Buffer.concat(chunks).toString() });
    });
  });
  return promise;
}
