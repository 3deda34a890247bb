import * as v from "valibot";
import { oneOf, path } from "./config-values.ts";

const MAX_BACK_ENDS = 16;
const MAX_RULES = 256;
/** sockaddr_un holds 107 characters. */
const MAX_SOCKET_PATH = 107;

const text = v.pipe(v.string(), v.minLength(1, "it is empty"), v.maxLength(255));
const socket = v.pipe(path, v.maxLength(MAX_SOCKET_PATH, "at most 107 characters are wanted"));
const name = v.pipe(
  v.string(),
  v.regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    "lower-case letters, digits and dashes are wanted",
  ),
);

/** HOST:PORT, as URLs have it. */
const address = v.pipe(
  v.string(),
  v.regex(
    /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]):\d{1,5}$/i,
    "HOST:PORT is wanted, an IPv6 address in brackets",
  ),
  v.check((text) => URL.canParse(`http://${text}`), "HOST:PORT is wanted"),
);

const BackEnd = v.pipe(
  v.strictObject({
    name,
    socket,
    streaming: v.optional(oneOf("auto", "direct", "relay")),
    streamVia: v.optional(v.union([socket, address], "HOST:PORT or a path is wanted")),
    lxcfs: v.optional(v.boolean()),
  }),
  v.check(
    ({ streaming, streamVia }) => streaming !== "direct" || streamVia === undefined,
    "streamVia is for URLs that are relayed: streaming is direct",
  ),
);

const Rule = v.pipe(
  v.strictObject({
    handler: v.optional(text),
    targetRuntime: v.optional(text),
    imagePrefix: v.optional(text),
    backEnd: name,
    useHandler: v.optional(text),
  }),
  v.check(
    (rule) =>
      [rule.handler, rule.targetRuntime, rule.imagePrefix].filter((each) => each !== undefined)
        .length === 1,
    "a rule has exactly one of handler, targetRuntime and imagePrefix",
  ),
  v.check(
    (rule) => rule.imagePrefix === undefined || rule.useHandler === undefined,
    "useHandler is for pods: an image has no handler",
  ),
);

const Untrusted = v.strictObject({
  handler: v.optional(
    v.pipe(
      v.string(),
      v.maxLength(255),
      v.title("name of a handler, or empty"),
      v.description(
        'Handler of pods that io.kubernetes.cri-o.TrustedSandbox: "false" or io.kubernetes.cri.untrusted-workload: "true" call untrusted, e.g. trine-microvm. Empty: these annotations are the back end\'s own matter.',
      ),
    ),
    "",
  ),
  backEnd: v.optional(
    v.pipe(
      v.union([v.literal(""), name], "the name of a back end is wanted"),
      v.title("name of a back end, or empty"),
      v.description("Where such pods go. Empty: to the first back end."),
    ),
    "",
  ),
  hostAccess: v.optional(
    v.pipe(
      oneOf("refuse", "allow"),
      v.description("Whether an untrusted pod may be privileged or have namespaces of the host."),
    ),
    "refuse",
  ),
});

const UrlImages = v.strictObject({
  prefix: v.optional(
    v.pipe(
      text,
      v.regex(/^[a-z0-9][a-z0-9.-]*\/$/, "a name with a slash behind it is wanted"),
      v.title("name with a slash behind it"),
      v.description(
        "What names of such images begin with; the rest is HOST/PATH or a mapped name.",
      ),
    ),
    "virtlet.cloud/",
  ),
  mappings: v.optional(
    v.pipe(
      v.union([v.literal(""), path], "an absolute path is wanted"),
      v.title("absolute path, or empty"),
      v.description(
        "Directory of Virtlet's image translations: *.yaml files, or VirtletImageMapping resources in such files. Read at each pull.",
      ),
    ),
    "",
  ),
  kubeconfig: v.optional(
    v.pipe(
      v.union([v.literal(""), path], "an absolute path is wanted"),
      v.title("absolute path, or empty"),
      v.description(
        "A kubeconfig that may list VirtletImageMapping resources in kube-system (deploy/virtlet): read at each pull, behind those of mappings; while the API server is away they are as they last were. Empty: there are none.",
      ),
    ),
    "",
  ),
  hosts: v.optional(
    v.pipe(
      v.array(
        v.pipe(text, v.regex(/^(\*|(\*\.)?[a-z0-9][a-z0-9.-]*)$/, "HOST, *.DOMAIN or * is wanted")),
      ),
      v.maxLength(MAX_RULES),
      v.title("list of HOST, *.DOMAIN or *"),
      v.description(
        "Servers that pods may name themselves. trined fetches from them with the node's own network: a server that pods are not to reach does not belong here. Empty: mapped names alone.",
      ),
    ),
    [],
  ),
  protocol: v.optional(
    v.pipe(oneOf("https", "http"), v.description("How a name that no mapping has is fetched.")),
    "https",
  ),
  backEnd: v.optional(
    v.pipe(
      v.union([v.literal(""), name], "the name of a back end is wanted"),
      v.title("name of a back end, or empty"),
      v.description("The containerd whose store the images go to. Empty: the first back end."),
    ),
    "",
  ),
  snapshotter: v.optional(
    v.pipe(
      text,
      v.title("name of a snapshotter"),
      v.description("The snapshotter of that containerd."),
    ),
    "overlayfs",
  ),
});

/** The CRI gateway: what it serves, and by which rules (docs/reference/gateway.md). */
export const GatewaySchema = v.pipe(
  v.strictObject({
    socket: v.optional(
      v.pipe(
        socket,
        v.description("Where the gateway serves CRI: kubelet's --container-runtime-endpoint."),
      ),
      "/run/trine-cri.sock",
    ),
    group: v.optional(
      v.pipe(
        v.string(),
        v.regex(/^([a-z_][a-z0-9_-]*|\d{1,9})?$/, "the name or number of a group is wanted"),
        v.title("name or number of a group, or empty"),
        v.description("Who may connect beside root. Empty: nobody."),
      ),
      "",
    ),
    streamAddress: v.optional(
      v.pipe(
        address,
        v.title("HOST:PORT"),
        v.description(
          "Where the gateway serves streaming URLs of its own, as kubelet reaches it; port 0: any. Nothing listens there before such a URL is needed.",
        ),
      ),
      "127.0.0.1:0",
    ),
    backEnds: v.optional(
      v.pipe(
        v.array(BackEnd),
        v.maxLength(MAX_BACK_ENDS),
        v.title("list of {name, socket, streaming, streamVia, lxcfs}"),
        v.description(
          "CRI servers behind the gateway; the first is the default. Empty: there is no gateway, and nothing of it is loaded. streaming: direct hands its streaming URLs on, relay puts the gateway's own in their place, auto does so where streamVia is given or a URL has no host. streamVia: HOST:PORT or unix socket that leads to its streaming server where its URLs do not. lxcfs: true has the gateway give its containers views of their limits, for a back end without NRI; lxcfs.enabled is wanted too.",
        ),
      ),
      [],
    ),
    rules: v.optional(
      v.pipe(
        v.array(Rule),
        v.maxLength(MAX_RULES),
        v.title("list of {handler or targetRuntime or imagePrefix, backEnd, useHandler}"),
        v.description(
          "Which back end has the pods of a RuntimeClass handler or of a kubernetes.io/target-runtime, and images whose names begin so. useHandler: the handler it is asked for.",
        ),
      ),
      [],
    ),
    untrusted: v.optional(Untrusted, {}),
    urlImages: v.optional(UrlImages, {}),
  }),
  v.check(
    ({ backEnds }) => new Set(backEnds.map((each) => each.name)).size === backEnds.length,
    "two back ends have one name",
  ),
  v.check(
    ({ backEnds, ...gateway }) =>
      new Set([gateway.socket, ...backEnds.map((each) => each.socket)]).size ===
      backEnds.length + 1,
    "two of the sockets are one",
  ),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { backEnds, rules, untrusted, urlImages } = dataset.value;
    const named = [
      ...rules.map((rule) => rule.backEnd),
      ...[untrusted.backEnd, urlImages.backEnd].filter((each) => each !== ""),
    ];
    const unknown = named.find((each) => !backEnds.some((backEnd) => backEnd.name === each));
    if (unknown !== undefined) addIssue({ message: `no back end has the name ${unknown}` });
  }),
);
