import * as cdi from "./kinds-cdi.ts";
import * as kubevirt from "./kinds-kubevirt.ts";
import * as machines from "./kinds-machines.ts";
import type { Kind } from "./schema/kind.ts";

/** All kinds that are served as custom resources. */
export const KINDS: readonly Kind[] = [kubevirt, machines, cdi].flatMap((group) =>
  Object.values<Kind>(group),
);

/** The kind of an object; undefined when its group or version is none of ours. */
export function kindOfObject(apiVersion: string, name: string): Kind | undefined {
  const [group, version] = apiVersion.split("/");
  return KINDS.find(
    (kind) =>
      kind.group === group &&
      kind.name === name &&
      kind.versions.some((each) => each.name === version),
  );
}
