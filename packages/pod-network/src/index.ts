export { connectTaps } from "./connect-taps.ts";
export { dhcpOffer, guestNetwork, linkLocalOf } from "./guest-network.ts";
export type { DhcpOffer, GuestNetworkConfig } from "./guest-network.ts";
export type { PodAddress, PodInterface, PodRoute } from "./pod-interface.ts";
export { readPodInterfaces } from "./read-pod-interfaces.ts";
export { shareAddress } from "./share-address.ts";
export { parseResolvConf } from "./resolv-conf.ts";
export type { DnsConfig } from "./resolv-conf.ts";
