import { defineConfig } from "vitest/config";

// unit: memory and temp dirs only. component: the real QEMU, containerd, CNI, sockets; run one file at a time.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: ["**/*.component.test.ts"],
        },
      },
      {
        test: {
          name: "component",
          include: ["packages/*/src/**/*.component.test.ts", "tests/**/*.component.test.ts"],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
