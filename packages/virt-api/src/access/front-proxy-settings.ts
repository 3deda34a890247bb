import { TrineError, messageOf } from "@trine/base";
import { CONFIG_MAPS, type KubeApi } from "@trine/kube-client";
import type { FrontProxySettings } from "./front-proxy.ts";

const PLACE = { namespace: "kube-system", name: "extension-apiserver-authentication" };

/** Reads how the API server in front of us makes itself known. Rejects with `wrongState` where aggregation is off. */
export async function readFrontProxySettings(
  kube: Pick<KubeApi, "get">,
  signal?: AbortSignal,
): Promise<FrontProxySettings> {
  const { data = {} } = await kube.get(CONFIG_MAPS, PLACE, signal);
  const authority = data["requestheader-client-ca-file"];
  if (authority === undefined || authority.trim() === "") {
    const where = `ConfigMap ${PLACE.namespace}/${PLACE.name}`;
    const what = "has no requestheader-client-ca-file: kube-apiserver runs without aggregation";
    throw new TrineError("wrongState", `${where} ${what}; set its --requestheader-… options`);
  }
  const list = (key: string): string[] => listOf(key, data[key]);
  return {
    authority,
    allowedNames: list("requestheader-allowed-names"),
    userHeaders: list("requestheader-username-headers"),
    uidHeaders: list("requestheader-uid-headers"),
    groupHeaders: list("requestheader-group-headers"),
    extraPrefixes: list("requestheader-extra-headers-prefix"),
  };
}

/** A value that is a list in JSON. */
function listOf(key: string, text: string | undefined): string[] {
  if (text === undefined || text === "") return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = messageOf(cause);
    throw new TrineError("malformed", `${PLACE.name}: ${key} is no JSON: ${why}`, { cause });
  }
  if (value === null) return [];
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
  throw new TrineError("malformed", `${PLACE.name}: ${key} is no list of texts`);
}
