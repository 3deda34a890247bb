// Test kit: what the API needs, in memory.
export { FakeDoor } from "./testing/fake-door.ts";
export { instance, machine, runningInstance, testDeps } from "./testing/test-deps.ts";
