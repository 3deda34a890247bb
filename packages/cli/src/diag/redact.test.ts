import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { redactText, redactValue } from "./redact.ts";
import { toTar } from "./tar.ts";

const PLANTED = "hunter2-planted";

test("a planted secret is nowhere left, wherever it stood", () => {
  const value = {
    metadata: {
      name: "web",
      annotations: {
        "trine.dev/memory": "1Gi",
        "trine.dev/user-data": PLANTED,
        "trine.dev/cloud-init": PLANTED,
        "trine.dev/network-config": PLANTED,
        "trine.dev/meta-data": PLANTED,
        "trine.dev/ssh-keys": PLANTED,
        "trine.dev/later": PLANTED,
        "io.kubernetes/x": PLANTED,
        "x.test/manifest": PLANTED,
      },
    },
    spec: { containers: [{ name: "main", env: [{ name: "X", value: PLANTED }], args: [PLANTED] }] },
    variables: [{ name: "COLOR", value: PLANTED }],
    secrets: { "default/keys": { token: PLANTED } },
    machine: { networkConfig: PLANTED, cloudInit: { users: PLANTED }, metaData: PLANTED },
    nested: [
      { dbPassword: PLANTED, note: `url https://me:${PLANTED}@db.test/ and token=${PLANTED}` },
    ],
  };
  const text = JSON.stringify(redactValue(value));
  expect(text).not.toContain(PLANTED);
  expect(text).toContain('"trine.dev/memory":"1Gi"');
  expect(text).toContain('"name":"web"');
});

test.each([
  `password=${PLANTED} rest`,
  `"secretKey": "${PLANTED}", rest`,
  `Authorization: Bearer ${PLANTED}\nrest`,
  `Authorization: Basic ${PLANTED}\nrest`,
  `proxy-authorization: Other a="${PLANTED}", b=${PLANTED}\nrest`,
  `"Authorization": "Basic ${PLANTED}", rest`,
  `asked with basic ${PLANTED} rest`,
  `https://user:${PLANTED}@x.test/ rest`,
  `https://:${PLANTED}@x.test/ rest`,
  `https://${PLANTED}@x.test/ rest`,
  `https://user:a@${PLANTED}@x.test/ rest`,
  `passphrase: a b ${PLANTED}\nrest`,
  `passphrase: "a \\" ${PLANTED}" rest`,
  `password: |-\n  a\n  ${PLANTED}\nrest`,
  `{\\"token\\":\\"${PLANTED}\\"}\nrest`,
  `private_key=${PLANTED}, rest`,
  `-----BEGIN RSA PRIVATE KEY-----\n${PLANTED}\n-----END RSA PRIVATE KEY-----\nrest`,
])("text %j loses its secret and nothing else", (line) => {
  expect(redactText(line)).not.toContain(PLANTED);
  expect(redactText(line)).toContain("rest");
});

test.each(["https://x.test/a@b", "registry.test/a@sha256:00", "http://x.test:80/ me@x.test"])(
  "%j has no secret and stays",
  (text) => {
    expect(redactText(text)).toBe(text);
  },
);

test("a long text takes no long time", () => {
  const text = "a".repeat(256 * 1024);
  expect(redactText(text)).toBe(text);
  expect(redactText("pass".repeat(64 * 1024))).toHaveLength(256 * 1024);
});

test("the archive is one that tar reads", () => {
  const archive = toTar(
    [
      { name: "d/a.txt", text: "content" },
      { name: "d/b", text: "" },
    ],
    1_700_000_000,
  );
  const listed = execFileSync("tar", ["-tvf", "-"], { input: archive, encoding: "utf8" });
  expect(listed).toMatch(/-rw------- 0\/0 +7 .* d\/a\.txt\n-rw------- 0\/0 +0 .* d\/b\n/);
  expect(execFileSync("tar", ["-xOf", "-", "d/a.txt"], { input: archive, encoding: "utf8" })).toBe(
    "content",
  );
});
