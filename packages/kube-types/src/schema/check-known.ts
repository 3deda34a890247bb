import type { Report } from "../checks/report.ts";
import type { Node } from "./node.ts";

/**
 * Reports texts that are none of the values that have a meaning (`known`), of a value whose shape is right.
 * Empty text is as good as nothing.
 */
export function checkKnown(node: Node, value: unknown, at: string, report: Report): void {
  if (value === undefined || value === null) return;
  switch (node.kind) {
    case "string":
      if (node.known !== undefined && value !== "" && !node.known.some((each) => each === value)) {
        report.unsupported(at, value, node.known);
      }
      return;
    case "list":
      (value as readonly unknown[]).forEach((item, index) => {
        checkKnown(node.item, item, `${at}[${index}]`, report);
      });
      return;
    case "map":
      for (const [key, item] of Object.entries(value)) {
        checkKnown(node.value, item, `${at}.${key}`, report);
      }
      return;
    case "object":
      for (const [name, item] of Object.entries(value)) {
        const field = Object.hasOwn(node.fields, name) ? node.fields[name] : undefined;
        if (field !== undefined) checkKnown(field, item, `${at}.${name}`, report);
      }
      return;
    default:
  }
}
