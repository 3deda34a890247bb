export { allowedCpus } from "./allowed-cpus.ts";
export { CpuSets } from "./cpu-sets.ts";
export { nriViews } from "./nri-views.ts";
export type { ViewHappening } from "./view-teller.ts";
export { Views } from "./views.ts";
