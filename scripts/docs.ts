// Writes the files that are made from data: `node scripts/docs.ts`; with --check only says which are stale.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { annotationsReference } from "./annotations-reference.ts";
import { withKubeVirt } from "./compatibility/render.ts";
import { crdFiles } from "./crd-files.ts";
import { configReference } from "./config-reference.ts";
import { instancetypeFiles } from "./instancetype-files.ts";
import { jsonSchemas } from "./json-schemas.ts";
import { withLayers } from "./layer-table.ts";
import type { LayerData } from "./layer-table.ts";
import { roleFiles } from "./role-files.ts";
import { runtimeClasses } from "./runtime-classes.ts";
import type { Overheads } from "./runtime-classes.ts";

const ROOT = join(import.meta.dirname, "..");

async function generatedFiles(): Promise<Readonly<Record<string, string>>> {
  const overheads = await readFile(join(ROOT, "deploy/overhead.json"), "utf8");
  const layers = JSON.parse(await readFile(join(ROOT, "layers.json"), "utf8")) as LayerData;
  const architecture = await readFile(join(ROOT, "ARCHITECTURE.md"), "utf8");
  const compatibility = await readFile(join(ROOT, "docs/compatibility.md"), "utf8");
  return {
    "docs/compatibility.md": withKubeVirt(compatibility),
    "ARCHITECTURE.md": withLayers(architecture, layers),
    "docs/reference/annotations.md": annotationsReference(),
    "docs/reference/config.md": configReference(),
    "deploy/kubernetes/runtimeclasses.yaml": runtimeClasses(JSON.parse(overheads) as Overheads),
    ...crdFiles(),
    ...instancetypeFiles(),
    ...roleFiles(),
    ...jsonSchemas(),
  };
}

async function main(check: boolean): Promise<number> {
  let stale = 0;
  for (const [file, wanted] of Object.entries(await generatedFiles())) {
    const path = join(ROOT, file);
    const found = await readFile(path, "utf8").catch(() => "");
    if (found === wanted) continue;
    stale += 1;
    if (!check) await writeFile(path, wanted);
    console.log(check ? `${file} is stale: run node scripts/docs.ts` : `wrote ${file}`);
  }
  return check && stale > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.includes("--check"));
