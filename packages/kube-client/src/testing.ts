// Test kit of controllers: an API server in memory, and caches of it.
export { MemoryKube } from "./testing/memory-kube.ts";
export type { WriteCall } from "./testing/memory-kube.ts";
