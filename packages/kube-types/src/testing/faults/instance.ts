import {
  DUPLICATE,
  INVALID,
  REQUIRED,
  UNSUPPORTED,
  type ByPath,
  type FaultRow,
} from "../objects.ts";

export const seed = (data: object): ByPath => ({
  "volumes[1]": { name: "seed", cloudInitNoCloud: data },
});

const term = (of: object): ByPath => ({
  "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms": [
    { matchExpressions: [of] },
  ],
});

const TERM =
  "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]";

const spread = { maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule" };

export const keys = (of: object): ByPath => ({
  "accessCredentials[0].sshPublicKey": {
    source: { secret: { secretName: "s" } },
    propagationMethod: { noCloud: {} },
    ...of,
  },
  ...seed({ userData: "#cloud-config" }),
});

const KEYS = "accessCredentials[0].sshPublicKey";

export const NIC = "domain.devices.interfaces[0]";

export const INSTANCE_FAULTS: readonly FaultRow[] = [
  ["an odd architecture", { architecture: "riscv" }, `architecture ${UNSUPPORTED}`],
  ["an unknown way of eviction", { evictionStrategy: "Wait" }, `evictionStrategy ${UNSUPPORTED}`],
  ["an unknown way to start", { startStrategy: "Later" }, `startStrategy ${UNSUPPORTED}`],
  [
    "a grace below nothing",
    { terminationGracePeriodSeconds: -1 },
    `terminationGracePeriodSeconds ${INVALID}`,
  ],
  ["an odd priority class", { priorityClassName: "High!" }, `priorityClassName ${INVALID}`],
  ["a host name with dots", { hostname: "a.b" }, `hostname ${INVALID}`],
  ["a long host name", { hostname: "x".repeat(64) }, `hostname ${INVALID}`],
  ["a subdomain in capitals", { subdomain: "Sub" }, `subdomain ${INVALID}`],
  ["an unknown DNS policy", { dnsPolicy: "Any" }, `dnsPolicy ${UNSUPPORTED}`],
  ["no DNS at all", { dnsPolicy: "None" }, `dnsConfig.nameservers ${REQUIRED}`],
  [
    "four name servers",
    { "dnsConfig.nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"] },
    `dnsConfig.nameservers ${INVALID}`,
  ],
  [
    "a name server by name",
    { "dnsConfig.nameservers": ["dns"] },
    `dnsConfig.nameservers[0] ${INVALID}`,
  ],
  [
    "seven searches",
    { "dnsConfig.searches": ["a", "b", "c", "d", "e", "f", "g"] },
    `dnsConfig.searches ${INVALID}`,
  ],
  [
    "long searches",
    { "dnsConfig.searches": Array.from({ length: 5 }, () => `${"x".repeat(60)}.y`) },
    `dnsConfig.searches ${INVALID}`,
  ],
  ["an odd search", { "dnsConfig.searches": ["a_b"] }, `dnsConfig.searches[0] ${INVALID}`],
  [
    "an option of no name",
    { "dnsConfig.options": [{ value: "1" }] },
    `dnsConfig.options[0].name ${REQUIRED}`,
  ],
  ["an odd label of a node", { nodeSelector: { "a b": "c" } }, `nodeSelector ${INVALID}`],
  ["an odd value of a label", { nodeSelector: { a: "b c" } }, `nodeSelector[a] ${INVALID}`],
  [
    "a toleration of no key",
    { "tolerations[0]": { operator: "Equal" } },
    `tolerations[0].operator ${INVALID}`,
  ],
  [
    "a toleration of any value",
    { "tolerations[0]": { key: "k", operator: "Exists", value: "v" } },
    `tolerations[0].value ${INVALID}`,
  ],
  [
    "a toleration for a time",
    { "tolerations[0]": { key: "k", effect: "NoSchedule", tolerationSeconds: 1 } },
    `tolerations[0].effect ${INVALID}`,
  ],
  [
    "an unknown effect",
    { "tolerations[0]": { key: "k", effect: "Never" } },
    `tolerations[0].effect ${UNSUPPORTED}`,
  ],
  [
    "a skew of nothing",
    { "topologySpreadConstraints[0]": { ...spread, maxSkew: 0 } },
    `topologySpreadConstraints[0].maxSkew ${INVALID}`,
  ],
  [
    "a spread over nothing",
    { "topologySpreadConstraints[0]": { ...spread, topologyKey: "" } },
    `topologySpreadConstraints[0].topologyKey ${REQUIRED}`,
  ],
  [
    "a spread twice",
    { topologySpreadConstraints: [spread, spread] },
    `topologySpreadConstraints[1] ${DUPLICATE}`,
  ],
  [
    "domains of a loose spread",
    {
      "topologySpreadConstraints[0]": {
        ...spread,
        whenUnsatisfiable: "ScheduleAnyway",
        minDomains: 2,
      },
    },
    `topologySpreadConstraints[0].minDomains ${INVALID}`,
  ],
  [
    "values of no operator",
    term({ key: "k", operator: "Exists", values: ["v"] }),
    `${TERM}.values ${INVALID}`,
  ],
  ["no values", term({ key: "k", operator: "In" }), `${TERM}.values ${REQUIRED}`],
  [
    "more than a word",
    term({ key: "k", operator: "Gt", values: ["many"] }),
    `${TERM}.values ${INVALID}`,
  ],
  [
    "an unknown operator",
    term({ key: "k", operator: "Like", values: ["v"] }),
    `${TERM}.operator ${UNSUPPORTED}`,
  ],
  [
    "a weight of nothing",
    {
      "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution": [
        { weight: 0, podAffinityTerm: { topologyKey: "zone" } },
      ],
    },
    `affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight ${INVALID}`,
  ],
  [
    "affinity of no topology",
    {
      "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution": [
        { topologyKey: "" },
      ],
    },
    `affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey ${REQUIRED}`,
  ],
  ["a probe of nothing", { readinessProbe: {} }, `readinessProbe ${REQUIRED}`],
  [
    "a probe of two kinds",
    { livenessProbe: { guestAgentPing: {}, tcpSocket: { port: 1 } } },
    `livenessProbe ${INVALID}`,
  ],
  [
    "a probe of no port",
    { "livenessProbe.tcpSocket": { port: 0 } },
    `livenessProbe.tcpSocket.port ${INVALID}`,
  ],
  [
    "a probe of no command",
    { "readinessProbe.exec": {} },
    `readinessProbe.exec.command ${REQUIRED}`,
  ],
  [
    "a probe in another scheme",
    { "readinessProbe.httpGet": { port: 80, scheme: "FTP" } },
    `readinessProbe.httpGet.scheme ${UNSUPPORTED}`,
  ],
  [
    "a probe before its time",
    { readinessProbe: { guestAgentPing: {}, periodSeconds: -1 } },
    `readinessProbe.periodSeconds ${INVALID}`,
  ],
  [
    "a life that succeeds twice",
    { livenessProbe: { guestAgentPing: {}, successThreshold: 2 } },
    `livenessProbe.successThreshold ${INVALID}`,
  ],
  ["a credential of nothing", { "accessCredentials[0]": {} }, `accessCredentials[0] ${REQUIRED}`],
  ["keys of no secret", keys({ source: {} }), `${KEYS}.source.secret.secretName ${REQUIRED}`],
  [
    "keys that go nowhere",
    keys({ propagationMethod: {} }),
    `${KEYS}.propagationMethod ${REQUIRED}`,
  ],
  [
    "keys that go two ways",
    keys({ propagationMethod: { noCloud: {}, qemuGuestAgent: { users: ["u"] } } }),
    `${KEYS}.propagationMethod ${INVALID}`,
  ],
  [
    "keys for no drive",
    keys({ propagationMethod: { configDrive: {} } }),
    `${KEYS}.propagationMethod.configDrive ${INVALID}`,
  ],
  [
    "keys for nobody",
    keys({ propagationMethod: { qemuGuestAgent: { users: [] } } }),
    `${KEYS}.propagationMethod.qemuGuestAgent.users ${REQUIRED}`,
  ],
  [
    "a password that goes nowhere",
    {
      "accessCredentials[0].userPassword": {
        source: { secret: { secretName: "s" } },
        propagationMethod: {},
      },
    },
    `accessCredentials[0].userPassword.propagationMethod ${REQUIRED}`,
  ],
];
