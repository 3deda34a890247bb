import { intOrString, known, list, needed, object, string } from "../schema/schema.ts";

export const execAction = object({ command: list(string(), { merge: "atomic" }) });

const httpHeader = object({ name: needed(string()), value: needed(string()) });

export const httpGetAction = object({
  path: string(),
  port: needed(intOrString()),
  host: string(),
  scheme: known("HTTP", "HTTPS"),
  httpHeaders: list(httpHeader, { merge: "atomic" }),
});

export const tcpSocketAction = object({ port: needed(intOrString()), host: string() });
