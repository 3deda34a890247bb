/** What is known of the node before a pod is made. */
export interface NodeFacts {
  readonly name: string;
  readonly ip: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** The node's resolver, for dnsPolicy Default and ClusterFirst. */
  readonly resolver: Resolver;
}

export interface Resolver {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** What is known of a pod when its containers are made. */
export interface PodFacts {
  readonly node: NodeFacts;
  readonly uid: string;
  /** Empty for a volume written before the network is there. */
  readonly ips: readonly string[];
}
