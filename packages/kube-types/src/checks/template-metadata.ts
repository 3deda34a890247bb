import { isRecord } from "../schema/check-leaf.ts";
import type { ObjectMeta } from "../schema/metadata.ts";
import type { Report } from "./report.ts";
import { checkLabels } from "./scheduling.ts";

/** What is kept as it is with a template becomes the metadata of an instance, which the API server judges by its types. */
export function checkTemplateMetadata(
  metadata: ObjectMeta | null | undefined,
  at: string,
  report: Report,
): void {
  const texts = (["labels", "annotations"] as const).filter((field) =>
    areTexts(metadata?.[field], `${at}.${field}`, report),
  );
  if (texts.includes("labels")) checkLabels(metadata?.labels, `${at}.labels`, report);
}

function areTexts(values: unknown, at: string, report: Report): boolean {
  const before = report.count;
  if (values === undefined || values === null) return true;
  if (!isRecord(values)) report.add("FieldValueTypeInvalid", at, "must be a mapping");
  else {
    for (const [key, value] of Object.entries(values)) {
      if (typeof value === "string") continue;
      report.add("FieldValueTypeInvalid", `${at}[${key}]`, "must be text: put it in quotes");
    }
  }
  return report.count === before;
}
