import {
  boolean,
  int64,
  integer,
  list,
  map,
  needed,
  number,
  object,
  oneOf,
  quantity,
  string,
} from "../schema/schema.ts";

const diskVerification = object({ memoryLimit: needed(quantity()) });

const logVerbosity = object({
  virtAPI: integer({ minimum: 0 }),
  virtController: integer({ minimum: 0 }),
  virtHandler: integer({ minimum: 0 }),
  virtLauncher: integer({ minimum: 0 }),
  virtOperator: integer({ minimum: 0 }),
  virtSynchronizationController: integer({ minimum: 0 }),
  nodeVerbosity: map(integer({ minimum: 0 })),
});

export const developerConfiguration = object({
  featureGates: list(string(), { merge: "atomic" }),
  disabledFeatureGates: list(string(), { merge: "atomic" }),
  pvcTolerateLessSpaceUpToPercent: integer(),
  minimumReservePVCBytes: int64({ minimum: 0 }),
  memoryOvercommit: integer({ minimum: 10 }),
  nodeSelectors: map(string()),
  useEmulation: boolean(),
  cpuAllocationRatio: integer(),
  minimumClusterTSCFrequency: int64(),
  diskVerification,
  logVerbosity,
  clusterProfiler: boolean(),
});

const tokenBucketRateLimiter = object({ qps: needed(number()), burst: needed(integer()) });

const rateLimiter = object({ tokenBucketRateLimiter });

const restClientConfiguration = object({ rateLimiter });

export const reloadableComponentConfiguration = object({ restClient: restClientConfiguration });

export const tlsConfiguration = object({
  minTLSVersion: oneOf(["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"]),
  ciphers: list(string(), { merge: "set" }),
});

const customProfile = object({ localhostProfile: string(), runtimeDefaultProfile: boolean() });

const virtualMachineInstanceProfile = object({ customProfile });

export const seccompConfiguration = object({
  virtualMachineInstanceProfile,
});
