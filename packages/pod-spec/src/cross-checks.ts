import { parseQuantity } from "@trine/annotations";
import type { Container } from "./container-schema.ts";
import type { Pod } from "./pod-schema.ts";
import type { Problem } from "./problems.ts";

type Report = (path: string, message: string) => void;

/** What a schema of single fields cannot see. */
export function crossChecks(pod: Pod): Problem[] {
  const problems: Problem[] = [];
  const report: Report = (path, message) => problems.push({ path, message });
  const { spec } = pod;
  const volumes = new Set(spec.volumes.map(({ name }) => name));
  unique(spec.volumes, "spec.volumes", report);
  unique([...spec.initContainers, ...spec.containers], "containers", report);
  for (const list of ["initContainers", "containers"] as const) {
    for (const [index, container] of spec[list].entries()) {
      const path = `spec.${list}[${index}]`;
      if (list === "containers" && container.restartPolicy !== undefined) {
        report(`${path}.restartPolicy`, "only init containers have one");
      }
      checkContainer(container, path, { volumes, spec, report });
    }
  }
  checkPod(pod, report);
  return problems;
}

function checkPod({ spec }: Pod, report: Report): void {
  if (spec.dnsPolicy === "None" && spec.dnsConfig.nameservers.length === 0) {
    report("spec.dnsConfig.nameservers", "is empty, and dnsPolicy is None");
  }
  if (spec.shareProcessNamespace && spec.hostPID) {
    report("spec.shareProcessNamespace", "cannot be together with hostPID");
  }
  if (spec.hostNetwork && spec.hostAliases.length > 0) {
    report("spec.hostAliases", "cannot be together with hostNetwork");
  }
  checkSeccomp(spec.securityContext.seccompProfile, "spec.securityContext", report);
  for (const [index, volume] of spec.volumes.entries()) {
    const { emptyDir } = volume;
    if (emptyDir?.sizeLimit !== undefined && emptyDir.medium !== "Memory") {
      const path = `spec.volumes[${index}].emptyDir.sizeLimit`;
      report(path, "holds for medium Memory only: nothing here measures a directory on disk");
    }
  }
}

interface Around {
  readonly volumes: ReadonlySet<string>;
  readonly spec: Pod["spec"];
  readonly report: Report;
}

function checkContainer(container: Container, path: string, around: Around): void {
  const { report, spec } = around;
  const seen = new Set<string>();
  for (const [index, mount] of container.volumeMounts.entries()) {
    const at = `${path}.volumeMounts[${index}]`;
    if (!around.volumes.has(mount.name)) report(`${at}.name`, `no volume ${mount.name} in the pod`);
    if (seen.has(mount.mountPath)) report(`${at}.mountPath`, "is mounted twice");
    seen.add(mount.mountPath);
    if (mount.mountPropagation === "Bidirectional" && !container.securityContext.privileged) {
      report(`${at}.mountPropagation`, "Bidirectional needs a privileged container");
    }
  }
  for (const [index, port] of container.ports.entries()) {
    if (spec.hostNetwork && port.hostPort !== undefined && port.hostPort !== port.containerPort) {
      report(`${path}.ports[${index}].hostPort`, "equals containerPort with hostNetwork");
    }
  }
  const { privileged, allowPrivilegeEscalation, seccompProfile } = container.securityContext;
  if (privileged && allowPrivilegeEscalation === false) {
    report(`${path}.securityContext`, "privileged with allowPrivilegeEscalation: false");
  }
  checkSeccomp(seccompProfile, `${path}.securityContext`, report);
  checkResources(container, path, report);
}

function checkSeccomp(
  profile: Pod["spec"]["securityContext"]["seccompProfile"],
  path: string,
  report: Report,
): void {
  if (profile === undefined) return;
  const isLocal = profile.type === "Localhost";
  if (isLocal === (profile.localhostProfile !== undefined)) return;
  const message = isLocal ? "is missing" : "is for type Localhost only";
  report(`${path}.seccompProfile.localhostProfile`, message);
}

function checkResources({ resources }: Container, path: string, report: Report): void {
  for (const name of ["cpu", "memory"] as const) {
    const limit = resources.limits[name];
    const request = resources.requests[name];
    if (limit === undefined || request === undefined) continue;
    if (scaled(request) > scaled(limit)) {
      report(`${path}.resources.requests.${name}`, `${request} is more than the limit ${limit}`);
    }
  }
}

/** Thousandths: parseQuantity rounds up to whole units. */
export function scaled(quantity: string): bigint {
  const unit = /^([+-]?[\d.]+)(.*)$/.exec(quantity);
  const suffix = unit?.[2] ?? "";
  // Multiply before rounding: 500m is 0.5.
  if (suffix === "m") return parseQuantity(unit?.[1] ?? "") ?? 0n;
  if (suffix === "u" || suffix === "n") {
    const micro = parseQuantity(unit?.[1] ?? "") ?? 0n;
    const per = suffix === "u" ? 1000n : 1_000_000n;
    return (micro + per - 1n) / per;
  }
  const [whole = "", fraction = ""] = (unit?.[1] ?? "").split(".");
  const digits = parseQuantity(`${whole || "0"}${fraction.padEnd(3, "0").slice(0, 3)}${suffix}`);
  return digits ?? 0n;
}

function unique(items: readonly { name: string }[], path: string, report: Report): void {
  const seen = new Set<string>();
  for (const { name } of items) {
    if (seen.has(name)) report(path, `two are named ${name}`);
    seen.add(name);
  }
}
