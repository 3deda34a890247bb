// Regenerates packages/proto/src/gen from the .proto files. `--check` writes nothing and fails when the
// committed code is not what the .proto files say.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "..");
const SOURCES = join(ROOT, "packages/proto/proto");
const COMMITTED = join(ROOT, "packages/proto/src/gen");
const BIN = join(ROOT, "node_modules/.bin");

async function generate(out: string): Promise<void> {
  const template = {
    version: "v2",
    clean: true,
    plugins: [
      {
        local: join(BIN, "protoc-gen-es"),
        out,
        // js+dts: TypeScript output would hold enums, which Node cannot strip.
        opt: ["target=js+dts", "import_extension=js"],
      },
    ],
  };
  await promisify(execFile)(join(BIN, "buf"), [
    "generate",
    SOURCES,
    "--template",
    JSON.stringify(template),
  ]);
}

async function readTree(dir: string): Promise<Map<string, string>> {
  const names = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile());
  const texts = files.map(async (entry): Promise<[string, string]> => {
    const path = join(entry.parentPath, entry.name);
    return [path.slice(dir.length + 1), await readFile(path, "utf8")];
  });
  return new Map(await Promise.all(texts));
}

async function staleFiles(): Promise<string[]> {
  const fresh = await mkdtemp(join(tmpdir(), "trine-generate-"));
  try {
    await generate(fresh);
    const [wanted, found] = await Promise.all([readTree(fresh), readTree(COMMITTED)]);
    const names = [...new Set([...wanted.keys(), ...found.keys()])].sort();
    return names.filter((name) => wanted.get(name) !== found.get(name));
  } finally {
    await rm(fresh, { recursive: true });
  }
}

if (process.argv.includes("--check")) {
  const stale = await staleFiles();
  for (const name of stale) console.error(`stale: packages/proto/src/gen/${name}`);
  if (stale.length > 0) {
    console.error("run `make generate` and commit the result");
    process.exitCode = 1;
  }
} else {
  await generate(COMMITTED);
}
