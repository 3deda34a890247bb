import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "./run-command.ts";

/** Who a certificate is for, in Kubernetes' terms. */
export interface Subject {
  readonly user: string;
  readonly group?: string;
  /** Addresses it serves. */
  readonly ips?: readonly string[];
  readonly names?: readonly string[];
}

/** A key and its certificate, signed by the cluster's own authority. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

// Without a section of extensions openssl adds none of its own to what the command line names.
const CONFIG = "[req]\ndistinguished_name = dn\n[dn]\n";

/** The certificate authority of one test cluster; everything lies in `dir` and is worth nothing elsewhere. */
export class KubeAuthority {
  readonly dir: string;
  readonly cert: string;

  private constructor(dir: string) {
    this.dir = dir;
    this.cert = join(dir, "ca.crt");
  }

  static async create(dir: string): Promise<KubeAuthority> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeFile(join(dir, "openssl.cnf"), CONFIG);
    const authority = new KubeAuthority(dir);
    await authority.#request("ca", "/CN=trine-test", [
      ...["-addext", "basicConstraints=critical,CA:TRUE"],
      ...["-addext", "keyUsage=critical,keyCertSign,digitalSignature"],
    ]);
    return authority;
  }

  async sign(name: string, subject: Subject): Promise<KeyPair> {
    const group = subject.group === undefined ? "" : `/O=${subject.group}`;
    const served = [
      ...(subject.ips ?? []).map((ip) => `IP:${ip}`),
      ...(subject.names ?? []).map((dns) => `DNS:${dns}`),
    ];
    const key = join(this.dir, "ca.key");
    return this.#request(name, `${group}/CN=${subject.user}`, [
      ...["-CA", this.cert, "-CAkey", key],
      ...["-addext", "extendedKeyUsage=serverAuth,clientAuth"],
      ...(served.length === 0 ? [] : ["-addext", `subjectAltName=${served.join(",")}`]),
    ]);
  }

  /** A kubeconfig that speaks to `server` as `subject`; answers its path. */
  async kubeconfig(name: string, server: string, subject: Subject): Promise<string> {
    const { cert, key } = await this.sign(name, subject);
    const path = join(this.dir, `${name}.kubeconfig`);
    const base64 = async (file: string): Promise<string> =>
      (await readFile(file)).toString("base64");
    const cluster = { server, "certificate-authority-data": await base64(this.cert) };
    const user = {
      "client-certificate-data": await base64(cert),
      "client-key-data": await base64(key),
    };
    const document = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name, user }],
      contexts: [{ name: "test", context: { cluster: "test", user: name } }],
      "current-context": "test",
    };
    // JSON is YAML.
    await writeFile(path, JSON.stringify(document), { mode: 0o600 });
    return path;
  }

  async #request(name: string, subject: string, more: readonly string[]): Promise<KeyPair> {
    const pair = { cert: join(this.dir, `${name}.crt`), key: join(this.dir, `${name}.key`) };
    await runCommand("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-config", join(this.dir, "openssl.cnf"), "-days", "2", "-subj", subject],
      ...["-keyout", pair.key, "-out", pair.cert, ...more],
    ]);
    return pair;
  }
}
