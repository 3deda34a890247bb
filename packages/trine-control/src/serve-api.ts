import { randomUUID } from "node:crypto";
import { arch, platform } from "node:os";
import { inertFields } from "@trine/controllers";
import type { Secret, Stored } from "@trine/kube-client";
import { type ServingCertificate, serveUploads, serveVirtApi } from "@trine/virt-api";
import { readKept } from "./authority/kept-certificate.ts";
import { Doors, doorCredentials } from "./doors.ts";
import { expanded } from "./expand.ts";
import { API_CLIENT, SERVING } from "./own-certificates.ts";
import type { ControlProcess } from "./process.ts";

/** The release whose API this is: virtctl compares it with its own when a command fails. */
const KUBEVIRT = "1.9.0";

/** Serves the aggregated API once the leader has made its certificate, until `signal` aborts. */
export async function serveApi(
  process: ControlProcess,
  onServing: (isServing: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const { secrets, config, logger } = process;
  const key = `${config.namespace}/${SERVING}`;
  const doors = new Doors(process.client, () =>
    doorCredentials(secrets, config.namespace, API_CLIENT),
  );
  const latest = new Latest();
  const stop = secrets.onChange((_, after) => {
    if (after !== undefined && `${config.namespace}/${after.metadata.name}` === key) {
      latest.set(after);
    }
  });
  try {
    const serving = await latest.first(signal);
    if (serving === undefined) return;
    let { key: uploadKey } = serving;
    const options = optionsOf(process, doors, serving);
    const all = { ...options, uploadKey: () => uploadKey };
    const api = await serveVirtApi(all);
    const uploads = await serveUploads({ ...all, listen: config.uploadListen });
    latest.onNext((next) => {
      api.setCertificate(next);
      uploads.setCertificate(next);
      uploadKey = next.key;
      logger.info("serving with a new certificate");
    });
    onServing(true);
    logger.info({ port: api.port, uploadPort: uploads.port }, "serving");
    await untilAborted(signal);
    onServing(false);
    await Promise.all([api.close(), uploads.close()]);
  } finally {
    stop();
    doors.close();
  }
}

function optionsOf(
  { client, config, logger, settings, version }: ControlProcess,
  doors: Doors,
  serving: ServingCertificate,
): Omit<Parameters<typeof serveVirtApi>[0], "uploadKey"> {
  const account = `system:serviceaccount:${config.namespace}:trine-control`;
  return {
    kube: client,
    reviewer: client,
    listen: config.apiListen,
    serving,
    doorOf: doors.of,
    expand: (machine, signal) => expanded(client, machine, settings.now().defaults, signal),
    defaults: () => settings.now().defaults,
    inertFields: (spec, at) => inertFields(spec, at).map(({ field }) => field),
    isSystem: (user) => user === account,
    version: {
      gitVersion: `v${KUBEVIRT}+trine.${version}`,
      gitCommit: "",
      gitTreeState: "",
      buildDate: "",
      goVersion: "",
      compiler: "",
      platform: `${platform()}/${arch() === "x64" ? "amd64" : arch()}`,
    },
    guestfs: { registry: "", tag: "", digest: "", imagePrefix: "", gsImage: "" },
    uuid: randomUUID,
    now: () => new Date(),
    logger,
  };
}

/** The certificate of a Secret that changes. */
class Latest {
  readonly #first = Promise.withResolvers<ServingCertificate>();
  #tell: ((next: ServingCertificate) => void) | undefined;

  set(secret: Stored<Secret>): void {
    const kept = readKept(secret);
    if (kept === undefined) return;
    this.#first.resolve(kept);
    this.#tell?.(kept);
  }

  onNext(tell: (next: ServingCertificate) => void): void {
    this.#tell = tell;
  }

  /** Nothing where `signal` aborts before there is one. */
  first(signal: AbortSignal): Promise<ServingCertificate | undefined> {
    return Promise.race([this.#first.promise, untilAborted(signal)]);
  }
}

function untilAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => {
      resolve(undefined);
    });
  });
}
