import type { DnsConfig, PasstPorts, PodInterface } from "@trine/pod-network";

/** What a machine's passt is started from, each time. Plain data: kept in the machine's record. */
export interface PasstRecord {
  readonly program: string;
  readonly interface: PodInterface;
  readonly dns: DnsConfig;
  readonly ports: PasstPorts;
}
