import { join } from "node:path";
import { createGenerator } from "ts-json-schema-generator";

const ROOT = join(import.meta.dirname, "..");

/** Schemas by name: what they describe, and the type that the program itself prints. */
const DOCUMENTS = {
  ps: { of: "trine ps -o json", file: "show/ps", type: "PsDocument" },
  inspect: { of: "trine inspect", file: "show/inspect", type: "InspectDocument" },
  top: { of: "trine top -o json", file: "show/top", type: "TopDocument" },
  event: { of: "a line of trine events -o json", file: "show/events", type: "EventLine" },
  why: { of: "trine why -o json", file: "show/why", type: "WhyDocument" },
  doctor: { of: "trine doctor -o json", file: "node/doctor", type: "DoctorDocument" },
  image: {
    of: "trine image ls -o json, trine image inspect -o json",
    file: "images/list",
    type: "ImageDocument",
  },
  guest: { of: "trine guest show -o json", file: "node/guest-show", type: "GuestDocument" },
  config: {
    of: "trine config view -o json",
    file: "config/view-config",
    type: "ConfigDocument",
  },
  status: {
    of: "an error where -o json or -o yaml is asked for, on stderr",
    file: "output/report-error",
    type: "StatusDocument",
  },
  progress: { of: "a line of --progress=json", file: "output/progress", type: "ProgressLine" },
} as const;

/** JSON Schemas by file: of what the command line prints, made of the types that it is printed by. */
export function jsonSchemas(): Readonly<Record<string, string>> {
  const documents = Object.entries(DOCUMENTS);
  const files = documents.map(([, { file }]) => file).join(",");
  const generator = createGenerator({
    path: join(ROOT, `packages/cli/src/{${files}}.ts`),
    tsconfig: join(ROOT, "tsconfig.json"),
    expose: "all",
    topRef: false,
    additionalProperties: false,
    // tsc has checked them.
    skipTypeCheck: true,
  });
  return Object.fromEntries(
    documents.map(([name, { of, type }]) => {
      const { $schema = "", ...rest } = generator.createSchema(type);
      const schema = { $schema, title: of, ...rest };
      return [`docs/schemas/${name}.json`, `${JSON.stringify(schema, null, 2)}\n`];
    }),
  );
}
