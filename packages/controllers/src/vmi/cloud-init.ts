import type { VirtualMachineInstanceSpec, Volume } from "@trine/kube-types";
import { mountedSecret, volumeName } from "./mounted-secret.ts";
import { type DiskOfVolume, disksOf } from "./disk-names.ts";
import { busOf } from "./disks.ts";
import { type Parts, joined, refused } from "./parts.ts";

/** The key of a Secret with user-data, which the node takes in any letters; of network-data it knows the key. */
const USER_DATA = "userdata";

type Seed = NonNullable<Volume["cloudInitNoCloud"]>;

/** What the guest is told when it first boots. */
export function firstBootParts(spec: VirtualMachineInstanceSpec): Parts {
  const disks = disksOf(spec);
  const seed = disks.find(
    ({ volume }) =>
      volume.cloudInitNoCloud !== undefined || volume.cloudInitConfigDrive !== undefined,
  );
  return joined([seed === undefined ? none() : seedParts(seed, spec), sysprepParts(disks)]);
}

/** Without a seed the guest asks by DHCP. */
function none(): Parts {
  return { annotations: { "trine.dev/cloud-init": "off" } };
}

function seedParts({ disk, volume }: DiskOfVolume, spec: VirtualMachineInstanceSpec): Parts {
  const { volumes = [] } = spec;
  const { cloudInitNoCloud: noCloud, cloudInitConfigDrive: drive } = volume;
  const seed = noCloud ?? drive ?? {};
  const kind = noCloud === undefined ? "cloudInitConfigDrive" : "cloudInitNoCloud";
  const at = `spec.volumes[${volumes.indexOf(volume)}].${kind}`;
  return joined([
    {
      annotations: {
        "trine.dev/cloud-init": noCloud === undefined ? "configdrive" : "nocloud",
        "trine.dev/disk-bus": busOf(disk),
      },
    },
    userData(seed, at),
    networkData(seed, at, noCloud === undefined),
    keys(spec),
  ]);
}

type PublicKey = NonNullable<AccessCredential["sshPublicKey"]>;
type AccessCredential = NonNullable<VirtualMachineInstanceSpec["accessCredentials"]>[number];

/** The Secret whose keys the seed brings; undefined where an agent is to (credentials.ts). */
export function seededKeys({ source, propagationMethod }: Partial<PublicKey>): string | undefined {
  const isSeeds =
    propagationMethod?.noCloud !== undefined || propagationMethod?.configDrive !== undefined;
  return isSeeds ? source?.secret?.secretName : undefined;
}

function keys({ accessCredentials = [] }: VirtualMachineInstanceSpec): Parts {
  const names = accessCredentials.flatMap(({ sshPublicKey }) => {
    const name = sshPublicKey === undefined ? undefined : seededKeys(sshPublicKey);
    return name ?? [];
  });
  if (names.length === 0) return {};
  const secrets = [...new Set(names)];
  const value = secrets.map((name) => `secret/${name}`).join(",");
  return joined([
    { annotations: { "trine.dev/ssh-keys-from": value } },
    ...secrets.map(mountedSecret),
  ]);
}

function userData({ userData: plain, userDataBase64, secretRef }: Seed, at: string): Parts {
  if (secretRef !== undefined) {
    const key = { annotations: { "trine.dev/user-data-key": USER_DATA } };
    return joined([key, fromSecret("user-data-from", secretRef.name)]);
  }
  const text = textOf(plain, userDataBase64);
  if (text === undefined) return refused(`${at}.userDataBase64`, "is no text in UTF-8");
  return text.trim() === "" ? {} : { annotations: { "trine.dev/user-data": text } };
}

function networkData(
  { networkData: plain, networkDataBase64, networkDataSecretRef }: Seed,
  at: string,
  isDrive: boolean,
): Parts {
  if (networkDataSecretRef !== undefined) {
    return fromSecret("network-data-from", networkDataSecretRef.name);
  }
  const text = textOf(plain, networkDataBase64);
  if (text === undefined) return refused(`${at}.networkDataBase64`, "is no text in UTF-8");
  if (text.trim() !== "") return { annotations: { "trine.dev/network-data": text } };
  // With a ConfigDrive a guest keeps the network of its first boot, and the next pod has another address.
  return isDrive ? { annotations: { "trine.dev/network-config": "off" } } : {};
}

/** Undefined: the base64 form holds no text. */
function textOf(plain: string | undefined, base64: string | undefined): string | undefined {
  if (plain !== undefined && plain !== "") return plain;
  if (base64 === undefined || base64 === "") return "";
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(base64, "base64"));
  } catch {
    return undefined;
  }
}

function fromSecret(annotation: string, secretName: string | undefined): Parts {
  const name = secretName ?? "";
  return {
    annotations: { [`trine.dev/${annotation}`]: `secret/${name}` },
    ...mountedSecret(name),
  };
}

function sysprepParts(disks: readonly DiskOfVolume[]): Parts {
  const { configMap, secret } =
    disks.find(({ volume }) => volume.sysprep !== undefined)?.volume.sysprep ?? {};
  if (secret !== undefined) {
    const name = secret.name ?? "";
    return { annotations: { "trine.dev/sysprep-from": `secret/${name}` }, ...mountedSecret(name) };
  }
  if (configMap === undefined) return {};
  const of = configMap.name ?? "";
  const name = volumeName("configmap", of);
  return {
    annotations: { "trine.dev/sysprep-from": `configmap/${of}` },
    volumes: [{ name, configMap: { name: of } }],
    mounts: [{ name, mountPath: `/trine.dev/configmap/${of}`, readOnly: true }],
  };
}
