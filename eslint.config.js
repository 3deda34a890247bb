import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  { ignores: ["**/node_modules", "target", "**/dist", "packages/proto/src/gen", "**/*.cjs"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ["eslint.config.js"] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "no-console": "error",
      "no-restricted-properties": [
        "error",
        { object: "process", property: "env", message: "read the environment in config only" },
      ],
    },
  },
  {
    // Programs and test tooling print and read the environment; libraries do not.
    files: [
      "packages/{cli,trined,trine-control,testkit}/src/**",
      "{tests,bench,scripts}/**",
      "**/*.test.ts",
      "*.config.*",
    ],
    rules: { "no-console": "off", "no-restricted-properties": "off" },
  },
);
