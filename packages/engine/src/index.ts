export type { SpareSummary } from "./guest/spare-pool.ts";
export type { EngineConfig, EngineDeps, GuestImage } from "./deps.ts";
export { Engine } from "./engine.ts";
export type { MachineFigures } from "./machine-figures.ts";
export { Pod } from "./pod.ts";
export type { PodSummary } from "./pod-summary.ts";
export type { AddExec, CreateTask, PodRef, ProcessRef, RootfsMount } from "./requests.ts";
export type { PodStats } from "./stats.ts";
export { UidPool } from "./uid-pool.ts";
