// Built from layers.json: a package imports only from the layers below its own, never sideways or up.
const { layers, testOnly } = require("./layers.json");

const anyOf = (names) => `^packages/(${names.join("|")})/`;
const all = [...layers.flat(), ...testOnly];
const tests = `\\.test\\.ts$|/(testing|contract)(\\.ts$|/)|${anyOf(testOnly)}|^(tests|bench|scripts)/`;

module.exports = {
  forbidden: [
    ...layers.map((names, level) => ({
      name: `layer-${level}`,
      comment: `layer ${level} (${names.join(", ")}) imports only from lower layers`,
      severity: "error",
      from: { path: anyOf(names), pathNot: tests },
      to: { path: anyOf(layers.slice(level).flat()), pathNot: "^packages/$1/" },
    })),
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "known-package",
      comment: "every package has a place in layers.json",
      severity: "error",
      from: { path: "^packages/", pathNot: anyOf(all) },
      to: {},
    },
    {
      name: "no-test-code",
      comment: "shipped code never imports the test kit",
      severity: "error",
      from: { path: "^packages/", pathNot: tests },
      to: { path: `${anyOf(testOnly)}|/src/(testing|contract)(\\.ts$|/)` },
    },
    {
      name: "no-deep-imports",
      comment: "a package is used through its exports",
      severity: "error",
      from: { path: "^packages/([^/]+)/" },
      to: {
        path: "^packages/[^/]+/src/",
        pathNot: "^packages/$1/|/src/(index|testing|contract)\\.ts$|^packages/proto/src/gen/",
      },
    },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)(dist|target)/" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node"] },
  },
};
