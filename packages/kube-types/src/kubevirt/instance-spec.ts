import { podDNSConfig } from "../kubernetes/pod-parts.ts";
import { affinity, toleration, topologySpreadConstraint } from "../kubernetes/scheduling.ts";
import { accessCredential } from "./access-credentials.ts";
import { domainSpec } from "./domain.ts";
import { network } from "./networks.ts";
import { probe } from "./probe.ts";
import { utilityVolume, volume } from "./volumes.ts";
import { templateMetadata } from "../schema/metadata.ts";
import { type Infer, int64, known, list, map, needed, object, string } from "../schema/schema.ts";

const virtualMachineInstanceResourceClaim = object({
  name: needed(string()),
  resourceClaimName: string(),
  resourceClaimTemplateName: string(),
});

export const virtualMachineInstanceSpec = object({
  priorityClassName: string(),
  domain: needed(domainSpec),
  nodeSelector: map(string()),
  affinity,
  schedulerName: string(),
  serviceAccountName: string(),
  tolerations: list(toleration),
  topologySpreadConstraints: list(topologySpreadConstraint, {
    merge: "map",
    keys: ["topologyKey", "whenUnsatisfiable"],
  }),
  evictionStrategy: known("None", "LiveMigrate", "LiveMigrateIfPossible", "External"),
  startStrategy: known("Paused"),
  terminationGracePeriodSeconds: int64(),
  volumes: list(volume, { maxItems: 256 }),
  livenessProbe: probe,
  readinessProbe: probe,
  hostname: string(),
  subdomain: string(),
  networks: list(network, { maxItems: 256 }),
  dnsPolicy: known("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"),
  dnsConfig: podDNSConfig,
  accessCredentials: list(accessCredential, { merge: "atomic", maxItems: 256 }),
  architecture: known("amd64", "arm64", "s390x"),
  resourceClaims: list(virtualMachineInstanceResourceClaim, { merge: "map", keys: ["name"] }),
  utilityVolumes: list(utilityVolume, { merge: "map", keys: ["name"], maxItems: 256 }),
});
export type VirtualMachineInstanceSpec = Infer<typeof virtualMachineInstanceSpec>;

export const virtualMachineInstanceTemplateSpec = object({
  metadata: templateMetadata(),
  spec: virtualMachineInstanceSpec,
});
