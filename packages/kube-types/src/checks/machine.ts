import type { VirtualMachineSpec } from "../kubevirt/machine-spec.ts";
import { checkDataVolumeSpec } from "./data-volume.ts";
import { atMostOne, filled, unique } from "./fields.ts";
import { checkInstanceSpec } from "./instance.ts";
import { checkForm } from "./names.ts";
import { type Report, shown } from "./report.ts";
import { checkTemplateMetadata } from "./template-metadata.ts";

export function checkMachineSpec(spec: VirtualMachineSpec, at: string, report: Report): void {
  checkRun(spec, at, report);
  checkMatcher(spec, "instancetype", at, report);
  checkMatcher(spec, "preference", at, report);
  const template = `${at}.template`;
  checkTemplateMetadata(spec.template.metadata, `${template}.metadata`, report);
  if (spec.template.spec === undefined) {
    report.required(`${template}.spec`);
    return;
  }
  const sizing = { instancetype: spec.instancetype !== undefined };
  checkInstanceSpec(spec.template.spec, `${template}.spec`, sizing, report);
  if (sizing.instancetype) checkNoConflict(spec, `${template}.spec.domain`, report);
  checkTemplates(spec, at, report);
}

/** One of the old switch and what replaced it. */
function checkRun({ running, runStrategy }: VirtualMachineSpec, at: string, report: Report): void {
  if (running === undefined && (runStrategy ?? "") === "") {
    report.required(`${at}.runStrategy`, "or running is required");
  } else if (running !== undefined && runStrategy !== undefined) {
    report.invalid(`${at}.running`, "must not stand with runStrategy");
  }
}

/** Kinds that may be named, in lower case. */
const KINDS = {
  instancetype: ["virtualmachineinstancetype", "virtualmachineclusterinstancetype"],
  preference: ["virtualmachinepreference", "virtualmachineclusterpreference"],
} as const;

function checkMatcher(
  spec: VirtualMachineSpec,
  name: "instancetype" | "preference",
  at: string,
  report: Report,
): void {
  const matcher = spec[name];
  if (matcher === undefined) return;
  const field = `${at}.${name}`;
  const { kind = "", inferFromVolume, inferFromVolumeFailurePolicy } = matcher;
  if (matcher.name === undefined && inferFromVolume === undefined) {
    report.required(`${field}.name`, "or inferFromVolume is required");
  }
  atMostOne(matcher, ["name", "inferFromVolume"], field, report);
  const singular = kind.toLowerCase().replace(/s$/, "");
  if (kind !== "" && !(KINDS[name] as readonly string[]).includes(singular)) {
    report.unsupported(`${field}.kind`, kind, KINDS[name]);
  }
  if (inferFromVolume === undefined) {
    if (inferFromVolumeFailurePolicy !== undefined) {
      report.invalid(`${field}.inferFromVolumeFailurePolicy`, "stands with inferFromVolume only");
    }
    return;
  }
  const volumes = spec.template.spec?.volumes ?? [];
  if (!volumes.some((volume) => volume.name === inferFromVolume)) {
    report.invalid(`${field}.inferFromVolume`, `is ${shown(inferFromVolume)}, which is no volume`);
  }
}

/** What an instance type says a machine must not say again. */
function checkNoConflict({ template }: VirtualMachineSpec, at: string, report: Report): void {
  const { cpu, memory, resources } = template.spec?.domain ?? {};
  const said = [
    ["cpu.sockets", cpu?.sockets],
    ["cpu.cores", cpu?.cores],
    ["cpu.threads", cpu?.threads],
    ["memory.guest", memory?.guest],
    ["memory.hugepages", memory?.hugepages],
    ["resources.requests.cpu", resources?.requests?.["cpu"]],
    ["resources.requests.memory", resources?.requests?.["memory"]],
    ["resources.limits.cpu", resources?.limits?.["cpu"]],
    ["resources.limits.memory", resources?.limits?.["memory"]],
  ] as const;
  for (const [field, value] of said) {
    if (value !== undefined) report.invalid(`${at}.${field}`, "conflicts with the instance type");
  }
}

/** Volumes that are made for the machine: each has a name and is used. */
function checkTemplates(spec: VirtualMachineSpec, at: string, report: Report): void {
  const templates = spec.dataVolumeTemplates ?? [];
  const pathOf = (index: number): string => `${at}.dataVolumeTemplates[${index}]`;
  const used = new Set(
    (spec.template.spec?.volumes ?? []).map(
      ({ dataVolume, persistentVolumeClaim }) =>
        dataVolume?.name ?? persistentVolumeClaim?.claimName,
    ),
  );
  unique(
    templates,
    ({ metadata }) => metadata?.name,
    (index) => `${pathOf(index)}.metadata.name`,
    report,
  );
  templates.forEach(({ metadata, spec: volume }, index) => {
    const name = metadata?.name;
    const field = `${pathOf(index)}.metadata.name`;
    filled(name, field, report);
    checkForm("subdomain", name, field, report);
    if (name !== undefined && !used.has(name)) {
      report.invalid(field, `is ${shown(name)}, which no volume of the machine uses`);
    }
    checkDataVolumeSpec(volume, `${pathOf(index)}.spec`, report);
  });
}
