import {
  COPY_GRANT,
  type CloneUser,
  cloneRefusal,
  foreignSource,
  grantCopy,
  mayClone,
  resolveSource,
} from "@trine/kube-client";
import type { DataVolume } from "@trine/kube-types";
import type { Admit } from "./hook.ts";
import { faultsOf } from "./judge-spec.ts";
import { refuseCauses } from "./refuse.ts";
import { ALLOWED, type AdmissionRequest, type Verdict } from "./review.ts";

/**
 * Says on a new DataVolume what its maker may copy out of another namespace: the controller, whose own rights reach everywhere,
 * copies that and nothing else. What somebody else says there goes.
 */
export const grantItsCopy: Admit = async (deps, request, signal) => {
  const { operation, object, oldObject, namespace, userInfo } = request;
  const volume = object as unknown as DataVolume;
  if (operation === "UPDATE") {
    const before = (oldObject ?? {}) as unknown as DataVolume;
    return withGrant(volume, before.metadata?.annotations?.[COPY_GRANT]);
  }
  // Refused by the CRD and by the hook that judges it, in their words: until then there is nothing to look up.
  if (operation !== "CREATE" || faultsOf(request) !== undefined) return ALLOWED;
  const { source, trouble } = await resolveSource(deps.kube, volume.spec, namespace, signal);
  if (trouble !== undefined && trouble.namespace !== namespace) {
    return refused("spec.sourceRef", trouble.message);
  }
  const from = foreignSource(source, namespace);
  if (from === undefined) return withGrant(volume, undefined);
  const isNamed = volume.spec.source !== undefined;
  if (deps.isSystem(userInfo.username)) {
    // It has looked at the rights of a machine's account to what it names. Its own would allow everything: they are not asked.
    if (!isNamed) {
      const message = `the DataSource says ${from.namespace}/${from.name} by now: it is read anew`;
      return refused("spec.sourceRef", message);
    }
  } else {
    const user = userOf(userInfo);
    if (!(await mayClone(deps.kube, user, from, signal))) {
      const field = isNamed ? `spec.source.${from.kind}.namespace` : "spec.sourceRef";
      return refused(field, cloneRefusal(user, from));
    }
  }
  // Nothing copies snapshots: its controller says so.
  if (from.kind === "snapshot") return withGrant(volume, undefined);
  return withGrant(volume, grantCopy(from, namespace, deps.copyKey()));
};

function userOf({ username, uid, groups, extra }: AdmissionRequest["userInfo"]): CloneUser {
  return {
    name: username,
    groups: groups ?? [],
    ...(uid !== undefined && { uid }),
    ...(extra && { extra }),
  };
}

function refused(field: string, message: string): Verdict {
  return refuseCauses([{ reason: "FieldValueInvalid", message, field }]);
}

function withGrant({ metadata }: DataVolume, grant: string | undefined): Verdict {
  const { [COPY_GRANT]: said, ...others } = metadata?.annotations ?? {};
  if (said === grant) return ALLOWED;
  const value = { ...others, ...(grant !== undefined && { [COPY_GRANT]: grant }) };
  return { allowed: true, patch: [{ op: "add", path: "/metadata/annotations", value }] };
}
