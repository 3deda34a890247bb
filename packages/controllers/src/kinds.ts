import { resourceOf } from "@trine/kube-client";
import {
  CDI_CONFIG,
  DATA_VOLUME,
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  VIRTUAL_MACHINE_INSTANCE_REPLICA_SET,
} from "@trine/kube-types";

export const MACHINES = resourceOf(VIRTUAL_MACHINE);
export const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
export const REPLICA_SETS = resourceOf(VIRTUAL_MACHINE_INSTANCE_REPLICA_SET);
export const DATA_VOLUMES = resourceOf(DATA_VOLUME);
export const CDI_CONFIGS = resourceOf(CDI_CONFIG);
