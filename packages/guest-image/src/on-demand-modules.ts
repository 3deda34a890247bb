/**
 * What a guest loads when a program in it asks the kernel for it, as on a host: packet filters for containers
 * with CAP_NET_ADMIN, and the links they make. Kernel names; those that a kernel has not are left out. Helpers
 * of single protocols, IPVS and rare sets are not among them: each module is memory of every guest.
 */
export const ON_DEMAND_MODULES: readonly string[] = [
  ...["nfnetlink", "nf_conntrack_netlink", "nfnetlink_log", "nfnetlink_queue", "nf_log_syslog"],
  ...named("nf_", ["tables", "conntrack", "nat", "reject_ipv4", "reject_ipv6"]),
  ...named("nft_", ["chain_nat", "compat", "connlimit", "ct", "fib_inet", "fib_ipv4", "fib_ipv6"]),
  ...named("nft_", ["hash", "limit", "log", "masq", "nat", "numgen", "objref", "queue", "quota"]),
  ...named("nft_", ["redir", "reject_inet", "reject_ipv4", "reject_ipv6", "socket", "tproxy"]),
  ...named("iptable_", ["filter", "mangle", "nat", "raw"]),
  ...named("ip6table_", ["filter", "mangle", "nat", "raw"]),
  ...["ipt_REJECT", "ip6t_REJECT"],
  ...named("xt_", ["CT", "DSCP", "LOG", "MASQUERADE", "NETMAP", "NFLOG", "NFQUEUE", "REDIRECT"]),
  ...named("xt_", ["TCPMSS", "TPROXY", "addrtype", "bpf", "cgroup", "comment", "connbytes"]),
  ...named("xt_", ["connlimit", "connmark", "conntrack", "dscp", "hashlimit", "hl", "iprange"]),
  ...named("xt_", ["length", "limit", "mac", "mark", "multiport", "nat", "owner", "pkttype"]),
  ...named("xt_", ["policy", "quota", "recent", "set", "socket", "state", "statistic", "string"]),
  ...named("xt_", ["tcpmss", "tcpudp", "time", "u32"]),
  ...named("ip_set_", ["bitmap_port", "hash_ip", "hash_ipport", "hash_ipportip", "hash_net"]),
  ...["ip_set_list_set", "dummy", "veth", "bridge", "macvlan"],
];

function named(prefix: string, names: readonly string[]): string[] {
  return names.map((name) => `${prefix}${name}`);
}
