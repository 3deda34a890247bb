/** A file of the seed, ready for the seed's disk. */
export interface SeedFile {
  /** May hold directories. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface SeedInput {
  /** The guest does its first-boot work once for each of these. */
  readonly instanceId: string;
  readonly hostname: string;
  /** As the user wrote it: cloud-config, script, MIME parts or whatever else the guest understands. */
  readonly userData?: string | undefined;
  /** Of the node, beneath the user's own; cloud-init reads it as it reads user-data. */
  readonly vendorData?: string | undefined;
  /** Keys set over ours; a mapping, or text of one in YAML or JSON. */
  readonly metaData?: string | Readonly<Record<string, unknown>> | undefined;
  /** Lines of an `authorized_keys` file, for the image's default user. */
  readonly sshKeys?: readonly string[] | undefined;
  /** Undefined: the guest configures its network as its image says, mostly by DHCP. */
  readonly network?: GuestNetwork | undefined;
  /** Of NoCloud's file for it; 2 where nothing is said. */
  readonly networkVersion?: 1 | 2 | undefined;
  /** In place of ours, as the user wrote it: a mapping, or text of one in YAML or JSON. */
  readonly networkData?: string | Readonly<Record<string, unknown>> | undefined;
}

export interface GuestNetwork {
  readonly interfaces: readonly GuestInterface[];
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

export interface GuestInterface {
  /** What the guest is to call it; undefined: as its own rules say. */
  readonly name?: string | undefined;
  readonly mac: string;
  readonly mtu: number;
  /** ADDRESS/PREFIX, IPv4 and IPv6. */
  readonly addresses: readonly string[];
  readonly routes: readonly GuestRoute[];
}

export interface GuestRoute {
  /** NETWORK/PREFIX; `0.0.0.0/0` and `::/0` are the default routes. */
  readonly to: string;
  /** Undefined: `to` is on the link itself. */
  readonly via?: string | undefined;
  /** The lowest wins; undefined: the guest's own. */
  readonly metric?: number | undefined;
}
