export { connectTaps } from "./connect-taps.ts";
export type { TapPair } from "./connect-taps.ts";
export { STAND_IN_ROUTER, dhcp6Offer, findGatewayMac } from "./dhcp6-offer.ts";
export {
  LOCAL_IPV6,
  containersAddress,
  dhcpOffer,
  guestNetwork,
  linkLocalOf,
} from "./guest-network.ts";
export type { DhcpOffer, GuestNetworkConfig } from "./guest-network.ts";
export { makeMacvtaps } from "./macvtap.ts";
export type { MacvtapLink } from "./macvtap.ts";
export { passtArguments, preparePasst } from "./passt.ts";
export type { PasstPorts } from "./passt.ts";
export { masqueraded, requireFreeNetworks } from "./masquerade.ts";
export type { Binding, HiddenGuest } from "./masquerade.ts";
export type { PodAddress, PodInterface, PodRoute } from "./pod-interface.ts";
export { readPodInterfaces } from "./read-pod-interfaces.ts";
export { takeMac } from "./take-mac.ts";
export { shareAddress } from "./share-address.ts";
export { parseResolvConf } from "./resolv-conf.ts";
export type { DnsConfig } from "./resolv-conf.ts";
