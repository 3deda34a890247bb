import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Document, isMap, parse, parseAllDocuments, visit } from "yaml";

interface Kustomization {
  readonly resources?: readonly string[];
  readonly labels?: readonly { readonly pairs: Readonly<Record<string, string>> }[];
  readonly images?: readonly {
    readonly name: string;
    readonly newName?: string;
    readonly newTag?: string;
  }[];
}

/** Of kustomize's fields those that deploy/ has: another one would be left out silently. */
const KNOWN = ["apiVersion", "kind", "resources", "labels", "images"];

/**
 * A kustomization of deploy/ as one file, as `kubectl kustomize` makes it, without kubectl. `trine install --cluster` reads
 * it, and it can be applied as it is.
 */
export async function clusterManifest(dir: string): Promise<string> {
  const documents = await documentsOf(dir);
  return documents.map(textOf).join("");
}

function textOf(document: Document): string {
  // A file's first comment is no object's.
  document.commentBefore = null;
  const text = document.toString({ lineWidth: 0 });
  return text.startsWith("---\n") ? text : `---\n${text}`;
}

async function documentsOf(dir: string): Promise<readonly Document[]> {
  const { resources = [], labels = [], images = [] } = await kustomizationOf(dir);
  const parts = await Promise.all(
    resources.map((name) => {
      const path = join(dir, name);
      return name.endsWith(".yaml") ? documentsIn(path) : documentsOf(path);
    }),
  );
  const documents = parts.flat();
  for (const document of documents) {
    for (const { pairs } of labels) {
      for (const [key, value] of Object.entries(pairs)) {
        document.setIn(["metadata", "labels", key], value);
      }
    }
    for (const image of images) rename(document, image);
  }
  return documents;
}

async function kustomizationOf(dir: string): Promise<Kustomization> {
  const name = join(dir, "kustomization.yaml");
  const text = await readFile(name, "utf8").catch(() =>
    readFile(join(dir, "Kustomization"), "utf8"),
  );
  const found = parse(text) as Kustomization;
  const unknown = Object.keys(found).filter((field) => !KNOWN.includes(field));
  if (unknown.length > 0)
    throw new Error(`${dir}: ${unknown.join(", ")} of kustomize is not known`);
  return found;
}

async function documentsIn(path: string): Promise<readonly Document[]> {
  const documents = parseAllDocuments(await readFile(path, "utf8"));
  const wrong = documents.find(({ errors }) => errors.length > 0);
  if (wrong !== undefined) {
    throw new Error(`${basename(dirname(path))}/${basename(path)}: ${String(wrong.errors[0])}`);
  }
  return documents;
}

function rename(
  document: Document,
  { name, newName = name, newTag }: { name: string; newName?: string; newTag?: string },
): void {
  const wanted = newTag === undefined ? newName : `${newName}:${newTag}`;
  visit(document, {
    Map: (_, map) => {
      if (isMap(map) && map.get("image") === name) map.set("image", wanted);
    },
  });
}
