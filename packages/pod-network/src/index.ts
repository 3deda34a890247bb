export { connectTap } from "./connect-tap.ts";
export { LINK_LOCAL, guestNetwork } from "./guest-network.ts";
export type { DhcpOffer, GuestNetworkConfig } from "./guest-network.ts";
export type { PodAddress, PodInterface, PodRoute } from "./pod-interface.ts";
export { readPodInterface } from "./read-pod-interface.ts";
export { parseResolvConf } from "./resolv-conf.ts";
export type { DnsConfig } from "./resolv-conf.ts";
