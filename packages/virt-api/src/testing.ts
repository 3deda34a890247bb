// Test kit: what the API needs, in memory.
export { FakeDoor } from "./testing/fake-door.ts";
export {
  SYSTEM,
  instance,
  machine,
  runningInstance,
  testDeps,
  testSettings,
} from "./testing/test-deps.ts";
export { makeToken } from "./upload/upload-token.ts";
