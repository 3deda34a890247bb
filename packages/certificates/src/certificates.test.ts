import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { type TLSSocket, connect, createServer } from "node:tls";
import { Pkcs10CertificateRequestGenerator, KeyUsagesExtension, KeyUsageFlags } from "./library.ts";
import { expect, test, vi } from "vitest";
import {
  certify,
  createAuthority,
  createRequest,
  issue,
  readRequest,
  renewalOf,
  validityOf,
} from "./index.ts";
import { ALGORITHM, generateKeys } from "./x509.ts";

// A machine that does much else is slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const DAY = 86_400_000;

test("server and client of one authority know each other by name", async () => {
  const authority = await createAuthority({ name: "trine", lifeMs: DAY });
  const serving = await issue(authority, {
    subject: { name: "node", dnsNames: ["node"], addresses: ["127.0.0.1", "fd00::1"] },
    usages: ["serverAuth"],
    lifeMs: DAY,
  });
  const client = await issue(authority, {
    subject: { name: "trine-control", organisations: ["a", "b"] },
    usages: ["clientAuth"],
    lifeMs: DAY,
  });
  const { certificate: ca } = authority;
  const server = createServer({
    cert: serving.certificate,
    key: serving.key,
    ca,
    requestCert: true,
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const socket = connect({
    port,
    host: "127.0.0.1",
    servername: "node",
    ca,
    cert: client.certificate,
    key: client.key,
    minVersion: "TLSv1.3",
  });
  const [accepted] = (await once(server, "secureConnection")) as [TLSSocket];
  expect(accepted.authorized).toBe(true);
  expect(accepted.getPeerCertificate().subject).toMatchObject({
    CN: "trine-control",
    O: ["a", "b"],
  });
  accepted.destroy();
  socket.destroy();
  server.close();
  expect(new X509Certificate(serving.certificate).checkIP("fd00::1")).toBe("fd00::1");
});

test("a certificate never outlives its authority, and is renewed after two thirds", async () => {
  const authority = await createAuthority({ name: "trine", lifeMs: DAY });
  const late = await issue(authority, { subject: { name: "x" }, usages: [], lifeMs: 9 * DAY });
  expect(validityOf(late.certificate).toMs).toBe(validityOf(authority.certificate).toMs);
  expect(renewalOf({ fromMs: 0, toMs: 9 })).toBe(6);
  expect(new X509Certificate(late.certificate).ca).toBe(false);
});

test("a request is read as it was made, and its key certified", async () => {
  const asked = { name: "trine-node:n1", dnsNames: ["n1"], addresses: ["10.0.0.1", "FD00:0::1"] };
  const { request } = await createRequest(asked);
  const { publicKey, ...read } = await readRequest(request);
  expect(read).toEqual({ ...asked, organisations: [], addresses: ["10.0.0.1", "fd00::1"] });
  const authority = await createAuthority({ name: "trine", lifeMs: DAY });
  const of = { subject: asked, usages: ["serverAuth"], lifeMs: DAY } as const;
  const certificate = new X509Certificate(await certify(authority, of, publicKey));
  expect(certificate.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
  expect(certificate.subject).toBe("CN=trine-node:n1");
  expect(certificate.checkHost("n1")).toBe("n1");
});

async function requestWith(more: {
  name: string;
  extensions?: KeyUsagesExtension[];
}): Promise<string> {
  const keys = await generateKeys();
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: ALGORITHM,
    ...more,
  });
  return request.toString("pem");
}

test("what is more than names, or not signed by its key, is refused", async () => {
  const usage = new KeyUsagesExtension(KeyUsageFlags.keyCertSign);
  await expect(readRequest(await requestWith({ name: "CN=a, C=DE" }))).rejects.toThrow("has C");
  await expect(readRequest(await requestWith({ name: "O=a" }))).rejects.toThrow("one common name");
  await expect(readRequest(await requestWith({ name: "CN=a, CN=b" }))).rejects.toThrow(
    "one common name",
  );
  const extended = await requestWith({ name: "CN=a", extensions: [usage] });
  await expect(readRequest(extended)).rejects.toThrow("asks for extension 2.5.29.15");
  const { request } = await createRequest({ name: "trine-node:n1" });
  const der = Buffer.from(request.replace(/-----.*-----/g, ""), "base64");
  der.writeUInt8(der.readUInt8(der.indexOf("n1")) ^ 1, der.indexOf("n1"));
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
  await expect(readRequest(forged)).rejects.toThrow("signature");
});

test.each([
  ["nothing", ""],
  [
    "two blocks",
    "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n".repeat(2),
  ],
  ["no request", "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"],
  [
    "too much",
    `-----BEGIN CERTIFICATE REQUEST-----\n${"A".repeat(20_000)}\n-----END CERTIFICATE REQUEST-----\n`,
  ],
])("%s is refused", async (_, text) => {
  await expect(readRequest(text)).rejects.toMatchObject({ name: "TrineError", kind: "invalid" });
});
