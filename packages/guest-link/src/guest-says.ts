// What a guest says of itself, as it says it: whoever shows it cleans and cuts it.

export interface GuestTimezone {
  readonly name: string | undefined;
  /** East of UTC. */
  readonly offsetSeconds: number;
}

export interface GuestUser {
  readonly name: string;
  readonly domain: string | undefined;
  /** Seconds since 1970. */
  readonly loginTime: number;
}

/** Over one, five and fifteen minutes. */
export interface GuestLoad {
  readonly 1: number;
  readonly 5: number;
  readonly 15: number;
}

export interface GuestFileSystem {
  /** The guest's name of the device. */
  readonly diskName: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly usedBytes: number | undefined;
  readonly totalBytes: number | undefined;
  readonly disks: readonly {
    readonly serial: string | undefined;
    readonly bus: string | undefined;
  }[];
}
