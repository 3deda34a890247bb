import { defineConfig } from "vitest/config";

// unit: memory and temp dirs only. component: the real QEMU, containerd, CNI, sockets; run two files at a time.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: ["**/*.component.test.ts"],
          // Beside the other tiers a test that takes one second alone has taken five.
          ...{ testTimeout: 30_000, hookTimeout: 30_000 },
        },
      },
      {
        test: {
          name: "component",
          include: ["packages/*/src/**/*.component.test.ts", "tests/**/*.component.test.ts"],
          // Each file has its own nodes; two at a time is what two cores bear.
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
