import type { PreferenceSpec } from "../specs.ts";

/** What guests of one system want. */
export interface System {
  readonly name: string;
  readonly title: string;
  readonly icon: string;
  readonly type: "linux" | "windows" | "legacy";
  /** The only one it runs on. */
  readonly architecture?: string;
  /** Processors and memory at least. */
  readonly needs?: readonly [processors: number, memory: string];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly devices: NonNullable<PreferenceSpec["devices"]>;
  readonly efi?: { readonly secureBoot: boolean; readonly persistent?: boolean };
  readonly cpu?: NonNullable<PreferenceSpec["cpu"]>;
  readonly rest?: Pick<
    PreferenceSpec,
    "clock" | "features" | "preferredLaunchSecurity" | "preferredTerminationGracePeriodSeconds"
  >;
}
