/** The parts are base64, where no line begins so. */
const BOUNDARY = "==trine==";
const BOOTHOOK = "#cloud-boothook\n#!/bin/sh\n";

/**
 * Several vendor data as one; undefined without any. Each keeps the header that says what it is; boothooks become one script, in
 * which each is a shell of its own: what one of them does or how it ends is nothing to the next.
 */
export function vendorDataOf(parts: readonly (string | undefined)[]): string | undefined {
  const given = parts.filter((part) => part !== undefined);
  const hooks = given.filter((part) => part.startsWith(BOOTHOOK));
  const others = given.filter((part) => !part.startsWith(BOOTHOOK));
  const whole = [...others, ...oneHook(hooks)];
  const [first, ...more] = whole;
  if (more.length === 0) return first;
  return [
    `Content-Type: multipart/mixed; boundary="${BOUNDARY}"`,
    "MIME-Version: 1.0",
    "",
    ...whole.flatMap((part, index) => [
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

function oneHook(hooks: readonly string[]): readonly string[] {
  if (hooks.length < 2) return hooks;
  const shells = hooks.map((hook) => `(\n${hook.slice(BOOTHOOK.length).trimEnd()}\n)\n`);
  return [`${BOOTHOOK}${shells.join("")}`];
}

function typeOf(part: string): string {
  return part.startsWith("#cloud-boothook") ? "text/cloud-boothook" : "text/cloud-config";
}
