import {
  MACHINE_ANNOTATIONS,
  MICROVM_ANNOTATIONS,
  UNSUPPORTED_VIRTLET,
  VIRTLET_MEANINGS,
  allowedText,
} from "../packages/annotations/src/index.ts";
import type { AnnotationSpec, Fields } from "../packages/annotations/src/index.ts";

const SPECS: readonly AnnotationSpec[] = MACHINE_ANNOTATIONS;

/** docs/reference/annotations.md: everything the schema says, nothing it does not. */
export function annotationsReference(): string {
  return `${[
    "# Pod annotations",
    "",
    "Written by `scripts/docs.ts` from the schema in `packages/annotations`; do not edit.",
    "",
    "A pod of the vm level is configured by annotations of the Pod. All are optional. A wrong value, an unknown `trine.dev/` name",
    "or two names that say different things fail the pod with one line for each problem. Annotations of other owners are ignored.",
    "",
    "| Annotation | Value | Default |",
    "|---|---|---|",
    ...SPECS.map((spec) => row(link(spec.key), allowedText(spec), defaultText(spec))),
    "",
    ...SPECS.flatMap(section),
    "## Pods of the microvm level",
    "",
    "Such a pod is configured by its own specification. It takes these annotations and refuses those above that it does not have:",
    "",
    "| Annotation | Value | Meaning |",
    "|---|---|---|",
    ...MICROVM_ANNOTATIONS.map((spec) =>
      row(`\`${spec.key}\``, allowedText(spec), spec.description),
    ),
    "",
    "## Virtlet's names",
    "",
    "Accepted, as long as a `trine.dev/` annotation for the same setting is absent or says the same:",
    "",
    "| Virtlet | Trine |",
    "|---|---|",
    ...SPECS.flatMap((spec) =>
      spec.virtlet.map(({ name, allowed }) =>
        row(`\`${name}\`${allowed === undefined ? "" : ` (${allowed})`}`, link(spec.key)),
      ),
    ),
    ...Object.entries(VIRTLET_MEANINGS).map(([name, { allowed, ours, note }]) =>
      row(`\`${name}\` (${allowed})`, [...ours.map(link), note].join(", ")),
    ),
    "",
    "Refused, with the advice:",
    "",
    "| Virtlet | Instead |",
    "|---|---|",
    ...Object.entries(UNSUPPORTED_VIRTLET).map(([name, advice]) => row(`\`${name}\``, advice)),
  ].join("\n")}\n`;
}

function section(spec: AnnotationSpec): string[] {
  return [
    `## ${spec.key}`,
    "",
    spec.description,
    "",
    `* Value: ${allowedText(spec)}`,
    `* Default: ${defaultText(spec)}`,
    `* Level: ${spec.level}`,
    `* Why it is there: ${spec.reason}`,
    ...spec.virtlet.map(({ name }) => `* Virtlet: \`${name}\``),
    "",
    ...(spec.type === "fields" ? fieldTable(spec.fields) : []),
    "```yaml",
    `${spec.key}: ${JSON.stringify(spec.example)}`,
    "```",
    "",
  ];
}

function fieldTable(fields: Fields): string[] {
  return [
    "| Field | Value | Meaning |",
    "|---|---|---|",
    ...Object.entries(fields).map(([name, field]) =>
      row(`\`${name}\``, allowedText(field), field.description),
    ),
    "",
  ];
}

function defaultText(spec: AnnotationSpec): string {
  if (spec.default === undefined) return "unset";
  return spec.default === "" ? "none" : `\`${spec.default}\``;
}

/** A heading's anchor on the usual forges: lower case, only letters, digits and hyphens. */
function link(key: string): string {
  return `[\`${key}\`](#${key.replaceAll(/[^a-z0-9-]/g, "")})`;
}

function row(...cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
