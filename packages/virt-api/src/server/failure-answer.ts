import type { IncomingMessage } from "node:http";
import type { Logger } from "pino";
import { type Answer, refused } from "../http/answer.ts";
import { statusOf } from "../refusals/status-of.ts";

/** The one place where failures become answers, and the log. */
export function failureAnswer(
  logger: Logger,
  { method, url = "" }: IncomingMessage,
  cause: unknown,
): Answer {
  const status = statusOf(cause);
  const [path] = url.split("?", 1);
  const about = { method, path: path?.slice(0, 300), code: status.code };
  if (status.code >= 500) logger.error({ ...about, err: cause }, "request failed");
  else logger.debug({ ...about, why: status.message }, "request refused");
  return refused(status);
}
