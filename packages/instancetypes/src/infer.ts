import { TrineError } from "@trine/base";
import type { DataSource, DataVolume, DataVolumeSpec, VirtualMachine } from "@trine/kube-types";
import type { Matcher, Subject } from "./matcher.ts";

type Labels = Readonly<Record<string, string>>;

/** Objects that a volume may be made of; undefined where there is none. */
export interface VolumeSources {
  claimLabels(namespace: string, name: string): Promise<Labels | undefined>;
  snapshotLabels(namespace: string, name: string): Promise<Labels | undefined>;
  dataVolume(namespace: string, name: string): Promise<DataVolume | undefined>;
  dataSource(namespace: string, name: string): Promise<DataSource | undefined>;
}

/** What a volume's labels say; `ignorable` is why they say nothing, where that may be let pass. */
type Found = { readonly matcher: Matcher } | { readonly ignorable: string };

/** One chain of objects, from a volume of a machine to where its labels are. */
class Inference {
  readonly #sources: VolumeSources;
  readonly #subject: Subject;
  readonly #namespace: string;

  constructor(sources: VolumeSources, subject: Subject, namespace: string) {
    this.#sources = sources;
    this.#subject = subject;
    this.#namespace = namespace;
  }

  async ofVolume({ spec }: VirtualMachine, name: string): Promise<Found> {
    const volume = spec.template.spec?.volumes?.find((each) => each.name === name);
    if (volume === undefined) {
      throw new TrineError("invalid", `unable to find volume ${name} to infer defaults`);
    }
    const { persistentVolumeClaim: claim, dataVolume } = volume;
    if (claim !== undefined) return this.#ofClaim(this.#namespace, claim.claimName);
    if (dataVolume === undefined) {
      return {
        ignorable: `unable to infer defaults from volume ${name} as type is not supported`,
      };
    }
    const template = spec.dataVolumeTemplates?.find(
      ({ metadata }) => metadata?.name === dataVolume.name,
    );
    if (template !== undefined) return this.#ofSpec(template.spec);
    return this.#ofDataVolume(dataVolume.name);
  }

  #ofLabels(labels: Labels | undefined): Found {
    const label = `instancetype.kubevirt.io/default-${this.#subject.toLowerCase()}`;
    const name = labels?.[label];
    if (name === undefined) {
      return { ignorable: `unable to find required ${label} label on the volume` };
    }
    const kind = labels?.[`${label}-kind`];
    return { matcher: { name, ...(kind !== undefined && { kind }) } };
  }

  async #ofClaim(namespace: string, name: string): Promise<Found> {
    const labels = await this.#sources.claimLabels(namespace, name);
    return this.#ofLabels(present(labels, "persistentvolumeclaims", name));
  }

  async #ofSnapshot(namespace: string, name: string): Promise<Found> {
    const labels = await this.#sources.snapshotLabels(namespace, name);
    return this.#ofLabels(present(labels, "volumesnapshots.snapshot.storage.k8s.io", name));
  }

  /** A DataVolume that was cleared away leaves a claim of its name. */
  async #ofDataVolume(name: string): Promise<Found> {
    const volume = await this.#sources.dataVolume(this.#namespace, name);
    if (volume === undefined) return this.#ofClaim(this.#namespace, name);
    const own = this.#ofLabels(volume.metadata?.labels);
    return "matcher" in own ? own : this.#ofSpec(volume.spec);
  }

  async #ofSpec({ source, sourceRef }: DataVolumeSpec): Promise<Found> {
    if (source?.pvc !== undefined) return this.#ofClaim(source.pvc.namespace, source.pvc.name);
    if (source?.snapshot !== undefined) {
      return this.#ofSnapshot(source.snapshot.namespace, source.snapshot.name);
    }
    if (sourceRef === undefined) {
      const why = "DataVolumeSpec as DataVolumeSource is not supported";
      return { ignorable: `unable to infer defaults from ${why}` };
    }
    if (sourceRef.kind !== "DataSource") {
      const why = `DataVolumeSourceRef as Kind ${sourceRef.kind} is not supported`;
      return { ignorable: `unable to infer defaults from ${why}` };
    }
    return this.#ofDataSource(sourceRef.namespace ?? this.#namespace, sourceRef.name);
  }

  async #ofDataSource(namespace: string, name: string): Promise<Found> {
    const found = await this.#sources.dataSource(namespace, name);
    const { metadata, spec } = present(found, "datasources.cdi.kubevirt.io", name);
    const own = this.#ofLabels(metadata?.labels);
    if ("matcher" in own) return own;
    const { pvc, snapshot } = spec.source;
    if (pvc !== undefined) return this.#ofClaim(pvc.namespace, pvc.name);
    if (snapshot !== undefined) return this.#ofSnapshot(snapshot.namespace, snapshot.name);
    const lacking = "DataVolumeSourcePVC or DataVolumeSourceSnapshot";
    return {
      ignorable: `unable to infer defaults from DataSource that doesn't provide ${lacking}`,
    };
  }
}

function present<T>(found: T | undefined, what: string, name: string): T {
  if (found !== undefined) return found;
  throw new TrineError("notFound", `${what} "${name}" not found`);
}

/**
 * What the volume that a matcher names is labelled with: the matcher to take instead; undefined where the machine is to
 * go without. A matcher that names no volume stays as it is. Rejects with `invalid` or `notFound`, in KubeVirt's words.
 */
export async function inferMatcher(
  machine: VirtualMachine,
  matcher: Matcher,
  subject: Subject,
  sources: VolumeSources,
): Promise<Matcher | undefined> {
  const { inferFromVolume = "" } = matcher;
  if (inferFromVolume === "") return matcher;
  const namespace = machine.metadata?.namespace ?? "default";
  const found = await new Inference(sources, subject, namespace).ofVolume(machine, inferFromVolume);
  if ("matcher" in found) return found.matcher;
  if (matcher.inferFromVolumeFailurePolicy === "Ignore") return undefined;
  throw new TrineError("invalid", found.ignorable);
}
