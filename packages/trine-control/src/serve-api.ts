import { randomUUID } from "node:crypto";
import { arch, platform } from "node:os";
import { inertFields } from "@trine/controllers";
import { type ServingCertificate, serveUploads, serveVirtApi } from "@trine/virt-api";
import { controlAccount } from "./account.ts";
import { copyKey } from "./copy-key.ts";
import { Doors, doorCredentials } from "./doors.ts";
import { expanded } from "./expand.ts";
import { API_CLIENT } from "./own-certificates.ts";
import type { ControlProcess } from "./process.ts";
import { ServingCertificates, untilAborted } from "./serving-certificates.ts";

/** The release whose API this is: virtctl compares it with its own when a command fails. */
const KUBEVIRT = "1.9.0";

/** Serves the aggregated API once the leader has made its certificate, until `signal` aborts. */
export async function serveApi(
  process: ControlProcess,
  onServing: (isServing: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const { secrets, config, logger } = process;
  const doors = new Doors(process.client, () =>
    doorCredentials(secrets, config.namespace, API_CLIENT),
  );
  const certificates = new ServingCertificates(secrets, config.namespace);
  try {
    const serving = await certificates.first(signal);
    if (serving === undefined) return;
    let { key: uploadKey } = serving;
    const options = optionsOf(process, doors, serving);
    const all = { ...options, uploadKey: () => uploadKey };
    const api = await serveVirtApi(all);
    const uploads = await serveUploads({ ...all, listen: config.uploadListen }).catch(
      async (cause: unknown) => {
        await api.close();
        throw cause;
      },
    );
    certificates.onNext((next) => {
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
    certificates.close();
    doors.close();
  }
}

function optionsOf(
  { client, config, logger, metrics, secrets, settings, version }: ControlProcess,
  doors: Doors,
  serving: ServingCertificate,
): Omit<Parameters<typeof serveVirtApi>[0], "uploadKey"> {
  const account = controlAccount(config.namespace);
  return {
    kube: client,
    reviewer: client,
    listen: config.apiListen,
    serving,
    doorOf: doors.of,
    expand: (machine, signal) => expanded(client, machine, settings.now().defaults, signal),
    defaults: () => settings.now().defaults,
    inertFields: (spec, at) => inertFields(spec, at).map(({ field }) => field),
    copyKey: () => copyKey(secrets, config.namespace),
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
    onStream: metrics.streamOpened,
    onAnswer: metrics.answered,
    uuid: randomUUID,
    now: () => new Date(),
    logger,
  };
}
