import { HttpClient } from "./http-client.ts";
import type { HttpSettings } from "./http-client.ts";

/** Whether the file at a URL is still the one with this validator: a strong ETag, or a date as Last-Modified has it. */
export async function isUnchanged(
  url: URL,
  validator: string,
  http: HttpSettings,
  signal: AbortSignal,
): Promise<boolean> {
  const client = await HttpClient.create(http);
  const isTag = validator.startsWith('"');
  const headers = { [isTag ? "if-none-match" : "if-modified-since"]: validator };
  const { status, message } = await client.send({ url, headers }, signal);
  message.destroy(); // where it has changed, all of it comes: the import asks for it
  return status === 304;
}
