import { featureState } from "./features.ts";
import { boolean, needed, object, string } from "../schema/schema.ts";

const vgpuDisplayOptions = object({ enabled: boolean(), ramFB: featureState });

export const vgpuOptions = object({ display: vgpuDisplayOptions });

export const gpu = object({
  name: needed(string()),
  deviceName: string(),
  claimName: string(),
  requestName: string(),
  virtualGPUOptions: vgpuOptions,
  tag: string(),
});

export const hostDevice = object({
  name: needed(string()),
  deviceName: string(),
  claimName: string(),
  requestName: string(),
  tag: string(),
});
