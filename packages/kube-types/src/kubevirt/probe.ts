import { execAction, httpGetAction, tcpSocketAction } from "../kubernetes/probe-handlers.ts";
import { type Infer, int32, object } from "../schema/schema.ts";

const guestAgentPing = object({});

export const probe = object({
  exec: execAction,
  guestAgentPing,
  httpGet: httpGetAction,
  tcpSocket: tcpSocketAction,
  initialDelaySeconds: int32(),
  timeoutSeconds: int32(),
  periodSeconds: int32(),
  successThreshold: int32(),
  failureThreshold: int32(),
});
export type Probe = Infer<typeof probe>;
