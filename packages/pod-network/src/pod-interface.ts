/** What CNI gave the pod. Plain data: kept as JSON in the pod's document. */
export interface PodInterface {
  readonly name: string;
  readonly mac: string;
  /** Bytes; the default route's where that is smaller. */
  readonly mtu: number;
  /** None where CNI gave it none: such an interface carries Ethernet frames of a protocol of its own. */
  readonly addresses: readonly PodAddress[];
  /** On-link ones first. */
  readonly routes: readonly PodRoute[];
}

export interface PodAddress {
  readonly family: "ipv4" | "ipv6";
  readonly address: string;
  /**
   * As the neighbours on the link see it: 32 or 128 where CNI routes even the pod's own subnet through
   * a gateway (ptp, Calico, Cilium).
   */
  readonly prefix: number;
}

export interface PodRoute {
  readonly family: "ipv4" | "ipv6";
  /** CIDR; 0.0.0.0/0 and ::/0 are the default routes. */
  readonly to: string;
  /** Gateway; absent = on-link. */
  readonly via?: string;
  /** Absent = the kernel's own. The lowest wins. */
  readonly metric?: number;
}
