/** The parts are base64, where no line begins so. */
const BOUNDARY = "==trine==";

/** Several vendor data as one; undefined without any. Each keeps the header that says what it is. */
export function vendorDataOf(parts: readonly (string | undefined)[]): string | undefined {
  const given = parts.filter((part) => part !== undefined);
  const [first, ...others] = given;
  if (others.length === 0) return first;
  return [
    `Content-Type: multipart/mixed; boundary="${BOUNDARY}"`,
    "MIME-Version: 1.0",
    "",
    ...given.flatMap((part, index) => [
      `--${BOUNDARY}`,
      `Content-Type: ${typeOf(part)}; charset="utf-8"`,
      "MIME-Version: 1.0",
      "Content-Transfer-Encoding: base64",
      `Content-Disposition: attachment; filename="trine-${index}"`,
      "",
      Buffer.from(part, "utf8").toString("base64").replaceAll(/.{76}/g, "$&\n"),
    ]),
    `--${BOUNDARY}--`,
    "",
  ].join("\n");
}

function typeOf(part: string): string {
  return part.startsWith("#cloud-boothook") ? "text/cloud-boothook" : "text/cloud-config";
}
