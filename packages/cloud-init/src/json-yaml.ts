/**
 * JSON that a YAML 1.1 reader takes as the same value: what it may not print, or would take for a line's
 * end, is escaped. Keys stay in the order given.
 */
export function jsonAsYaml(value: unknown): Buffer {
  const text = JSON.stringify(value, undefined, 1).replace(
    /[\u007f-\u00a0\u2028\u2029\ufeff\ufffe\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return Buffer.from(`${text}\n`, "utf8");
}
