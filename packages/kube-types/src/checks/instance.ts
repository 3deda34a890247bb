import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import { checkCredentials } from "./credentials.ts";
import { checkDevices } from "./devices.ts";
import { checkDisks, checkHostDevices } from "./disks.ts";
import { unique } from "./fields.ts";
import { checkClock, checkFeatures, checkFirmware, checkLaunchSecurity } from "./firmware.ts";
import { checkNames } from "./guest-network-names.ts";
import { checkForm } from "./names.ts";
import { checkNetworks } from "./networks.ts";
import { checkProbes } from "./probes.ts";
import type { Report } from "./report.ts";
import { type Sizing, checkMemory, checkProcessors, checkRequests } from "./resources.ts";
import { checkAffinity, checkLabels, checkSpread, checkTolerations } from "./scheduling.ts";
import { checkVolumes } from "./volumes.ts";

/** What a machine is to be: the spec of an instance, or of a VirtualMachine's template. */
export function checkInstanceSpec(
  spec: VirtualMachineInstanceSpec,
  at: string,
  sizing: Sizing,
  report: Report,
): void {
  const domain = `${at}.domain`;
  checkMemory(spec.domain, domain, sizing, report);
  checkRequests(spec.domain, domain, report);
  checkProcessors(spec.domain, domain, report);
  checkVolumes(spec.volumes ?? [], `${at}.volumes`, report);
  checkDisks(spec, at, report);
  checkNetworks(spec, at, report);
  checkFirmware(spec, at, report);
  checkLaunchSecurity(spec, at, report);
  checkClock(spec.domain, domain, report);
  checkFeatures(spec.domain, domain, report);
  checkDevices(spec.domain, domain, report);
  checkHostDevices(spec, at, report);
  checkCredentials(
    spec.accessCredentials ?? [],
    spec.volumes ?? [],
    `${at}.accessCredentials`,
    report,
  );
  checkPlace(spec, at, report);
  checkNames(spec, at, report);
  checkProbes(spec, at, report);
}

/** Where it runs, and how long it may take to stop. */
function checkPlace(spec: VirtualMachineInstanceSpec, at: string, report: Report): void {
  checkLabels(spec.nodeSelector, `${at}.nodeSelector`, report);
  checkTolerations(spec.tolerations ?? [], `${at}.tolerations`, report);
  const spread = spec.topologySpreadConstraints ?? [];
  checkSpread(spread, `${at}.topologySpreadConstraints`, report);
  if (spec.affinity !== undefined) checkAffinity(spec.affinity, `${at}.affinity`, report);
  checkForm("subdomain", spec.priorityClassName, `${at}.priorityClassName`, report);
  checkForm("subdomain", spec.serviceAccountName, `${at}.serviceAccountName`, report);
  const grace = spec.terminationGracePeriodSeconds ?? 0;
  if (grace < 0) report.invalid(`${at}.terminationGracePeriodSeconds`, "must not be negative");
  const claims = spec.resourceClaims ?? [];
  unique(
    claims,
    ({ name }) => name,
    (index) => `${at}.resourceClaims[${index}].name`,
    report,
  );
}
