import { boolean, known, map, object, quantity, string } from "../schema/schema.ts";

const interfaceBindingMigration = object({ method: known("link-refresh") });

export const resourceRequirementsWithoutClaims = object({
  limits: map(quantity()),
  requests: map(quantity()),
});

const interfaceBindingPlugin = object({
  sidecarImage: string(),
  networkAttachmentDefinition: string(),
  domainAttachmentType: known("tap", "managedTap"),
  migration: interfaceBindingMigration,
  downwardAPI: known("device-info"),
  computeResourceOverhead: resourceRequirementsWithoutClaims,
});

export const networkConfiguration = object({
  defaultNetworkInterface: string(),
  permitSlirpInterface: boolean(),
  permitBridgeInterfaceOnPodNetwork: boolean(),
  binding: map(interfaceBindingPlugin),
});
