import { constants } from "node:http2";
import { AnswerStatus } from "./back-end.ts";
import type { BackEnd } from "./back-end.ts";
import { metadataOf } from "./grpc-status.ts";
import type { ServerCall } from "./server-call.ts";

/** Passes a call on as the bytes it came in, and the answer back: neither is decoded, whoever is slower sets the pace. */
export function relay(call: ServerCall, backEnd: BackEnd): Promise<void> {
  call.backEnd = backEnd.name;
  const stream = backEnd.send(call.path, call.message, call.options);
  const status = new AnswerStatus(backEnd.name, stream);
  const cancel = (): void => {
    stream.close(constants.NGHTTP2_CANCEL);
  };
  call.signal.addEventListener("abort", cancel, { once: true });
  if (call.signal.aborted) cancel();
  stream.on("response", (headers) => {
    const isAnswer = headers["grpc-status"] === undefined && headers[":status"] === 200;
    if (isAnswer) call.respond(metadataOf(headers));
  });
  stream.on("data", (chunk: Buffer) => {
    if (call.write(chunk)) return;
    stream.pause();
    call.drained(() => stream.resume());
  });
  return new Promise((resolve) => {
    stream.once("close", () => {
      call.signal.removeEventListener("abort", cancel);
      call.end(status.trailers);
      resolve();
    });
  });
}
