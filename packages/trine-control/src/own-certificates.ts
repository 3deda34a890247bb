import type { Kept } from "./authority/kept-certificate.ts";

/** Secrets of certificates that the program shows, by whom. */
export const SERVING = "trine-virt-api-serving";
export const API_CLIENT = "trine-virt-api-client";
export const CONTROL_CLIENT = "trine-control-client";
/** Of deploy/control-plane: leads to the upload proxy. */
const UPLOAD_SERVICE = "trine-upload-proxy";

/** What the leader keeps: the names by which the API server finds us, and who we are at the nodes' doors. */
export function ownCertificates(of: {
  readonly service: string;
  readonly namespace: string;
}): readonly Kept[] {
  const { service, namespace } = of;
  const dnsNames = [service, UPLOAD_SERVICE].flatMap((name) => [
    name,
    `${name}.${namespace}`,
    `${name}.${namespace}.svc`,
    `${name}.${namespace}.svc.cluster.local`,
  ]);
  return [
    { name: SERVING, subject: { name: service, dnsNames }, usage: "serverAuth" },
    { name: API_CLIENT, subject: { name: "trine-virt-api" }, usage: "clientAuth" },
    { name: CONTROL_CLIENT, subject: { name: "trine-control" }, usage: "clientAuth" },
  ];
}
