import type { DataVolumeSpec } from "@trine/kube-types";
import { FILL_PLACES } from "@trine/node-door";
import type { VolumeOrder } from "@trine/node-door";

type Source = NonNullable<DataVolumeSpec["source"]>;
type Json = Readonly<Record<string, unknown>>;

/** What fills a volume: the order of its container, and what that needs of the pod. */
export interface Filling {
  /** As phases are named. */
  readonly verb: "Import" | "Clone" | "Upload";
  readonly source: VolumeOrder["source"];
  /** Of the container; absent: one that holds nothing. */
  readonly image?: string;
  readonly pullSecrets: readonly string[];
  /** Secrets and ConfigMaps. */
  readonly volumes: readonly (Json & { readonly name: string })[];
  readonly mounts: readonly Json[];
  /** Claim of the same namespace that is copied. */
  readonly from?: string;
  /** Claim of another one, which a pod there gives. */
  readonly far?: ClaimAt;
}

export interface ClaimAt {
  readonly namespace: string;
  readonly name: string;
}

export type Plan = Filling | { readonly refused: string };

const NONE = { pullSecrets: [], volumes: [], mounts: [] };
const NOT_HERE = ["s3", "gcs", "imageio", "vddk", "snapshot"] as const;
const {
  source: SOURCE,
  credentials: CREDENTIALS,
  certificates: CERTIFICATES,
  headers: HEADERS,
} = FILL_PLACES;

/** What else a copy hangs on. */
export interface Known {
  readonly isBlock: (claim: ClaimAt) => boolean;
  /** Whether its maker was allowed to copy that out of another namespace. */
  readonly isGranted: (claim: ClaimAt) => boolean;
}

type Planned = Pick<DataVolumeSpec, "source" | "contentType" | "checkpoints">;

/** How a volume is to be filled. Pure. */
export function planFilling(
  { source, contentType, checkpoints = [] }: Planned,
  namespace: string,
  known: Known,
): Plan {
  if (source === undefined) return { refused: "spec.source: there is none" };
  if (contentType === "archive") return { refused: "spec.contentType: archives are not unpacked" };
  if (checkpoints.length > 0) return { refused: "spec.checkpoints: copies in steps are not made" };
  const other = NOT_HERE.find((name) => source[name] !== undefined);
  if (other !== undefined) return { refused: `spec.source.${other}: is not supported` };
  if (source.http !== undefined) return ofHttp(source.http);
  if (source.registry !== undefined) return ofRegistry(source.registry);
  if (source.pvc !== undefined) return ofClaim(source.pvc, namespace, known);
  if (source.upload !== undefined) return { ...NONE, verb: "Upload", source: { kind: "upload" } };
  if (source.blank !== undefined) return { ...NONE, verb: "Import", source: { kind: "blank" } };
  return { refused: "spec.source: names nothing" };
}

function ofHttp(http: NonNullable<Source["http"]>): Plan {
  const { url, checksum, secretRef, certConfigMap, extraHeaders, secretExtraHeaders = [] } = http;
  const secrets = secretExtraHeaders.map((name, index) => ({
    name: `headers-${index}`,
    secretName: name,
    mountPath: `${HEADERS}/${index}`,
  }));
  const all = [
    ...(isNamed(secretRef)
      ? [{ name: "credentials", secretName: secretRef, mountPath: CREDENTIALS }]
      : []),
    ...secrets,
  ];
  const certificates = isNamed(certConfigMap)
    ? [{ name: "certificates", configMap: { name: certConfigMap } }]
    : [];
  return {
    verb: "Import",
    pullSecrets: [],
    source: {
      kind: "http",
      url,
      ...(isNamed(checksum) ? { checksum } : {}),
      ...(isNamed(secretRef) ? { credentials: CREDENTIALS } : {}),
      ...(isNamed(certConfigMap) ? { certificates: CERTIFICATES } : {}),
      ...(extraHeaders === undefined ? {} : { headers: extraHeaders }),
      ...(secrets.length === 0 ? {} : { headerSecrets: secrets.map(({ mountPath }) => mountPath) }),
    },
    volumes: [
      ...all.map(({ name, secretName }) => ({ name, secret: { secretName } })),
      ...certificates,
    ],
    mounts: [
      ...all.map(({ name, mountPath }) => ({ name, mountPath, readOnly: true })),
      ...certificates.map(({ name }) => ({ name, mountPath: CERTIFICATES, readOnly: true })),
    ],
  };
}

/** The node pulls it, as it does every image: with its mirrors, its authorities and the pod's credentials. */
function ofRegistry(registry: NonNullable<Source["registry"]>): Plan {
  const { url, imageStream, secretRef } = registry;
  if (isNamed(imageStream))
    return { refused: "spec.source.registry.imageStream: is not supported" };
  const [, image] = /^docker:\/\/(.+)$/.exec(url ?? "") ?? [];
  if (image === undefined) return { refused: "spec.source.registry.url: docker://IMAGE is wanted" };
  const pullSecrets = isNamed(secretRef) ? [secretRef] : [];
  return { ...NONE, verb: "Import", source: { kind: "image" }, image, pullSecrets };
}

function ofClaim(claim: ClaimAt, namespace: string, { isBlock, isGranted }: Known): Plan {
  const { name, namespace: of } = claim;
  if (of === namespace) {
    const path = isBlock(claim) ? SOURCE.device : SOURCE.directory;
    return { ...NONE, verb: "Clone", source: { kind: "volume", path }, from: name };
  }
  if (isGranted(claim)) return { ...NONE, verb: "Clone", source: { kind: "copy" }, far: claim };
  const why = `nobody who may was asked for a copy of claim ${of}/${name}`;
  return { refused: `${why}: make the DataVolume anew` };
}

function isNamed(text: string | undefined): text is string {
  return text !== undefined && text !== "";
}
