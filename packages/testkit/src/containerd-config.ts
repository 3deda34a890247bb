export type ContainerdVersion = "1.6" | "2.4";

export interface ContainerdConfig {
  version: ContainerdVersion;
  /** Everything of this containerd lies in it. */
  dir: string;
  pauseImage: string;
  /** RuntimeClass handlers `NAME`, each of runtime type `io.containerd.NAME.v2`. */
  runtimes: readonly string[];
  /** trined's state directory, told to the shims by runtime option. */
  stateDir?: string;
  /** NRI on, at `dir`/nri.sock (2.x). */
  nri?: boolean;
}

/** CNI's plugins as Debian packages them. */
const CNI_BIN = "/usr/lib/cni";

export function containerdConfig(config: ContainerdConfig): string {
  return config.version === "1.6" ? config1(config) : config2(config);
}

/** Table lines for each handler, below the plugin's table name. */
function runtimeTables(plugin: string, config: ContainerdConfig): string[] {
  const table = `plugins."${plugin}".containerd.runtimes`;
  return [
    `[${table}.runc]`,
    `runtime_type = "io.containerd.runc.v2"`,
    `[${table}.runc.options]`,
    `Root = "${config.dir}/runc"`,
    ...config.runtimes.flatMap((name) => [
      `[${table}.${name}]`,
      `runtime_type = "io.containerd.${name}.v2"`,
      `pod_annotations = ["trine.dev/*", "Virtlet*", "kubernetes.io/target-runtime"]`, // as in deploy/containerd
      ...(config.stateDir === undefined
        ? []
        : [
            `[${table}.${name}.options]`,
            `TypeUrl = "runtimeoptions.v1.Options"`,
            `ConfigPath = "${config.stateDir}"`,
          ]),
    ]),
  ];
}

function common(dir: string): string[] {
  return [
    `root = "${dir}/root"`,
    `state = "${dir}/state"`,
    `oom_score = 0`,
    `[grpc]`,
    `address = "${dir}/containerd.sock"`,
    `[debug]`,
    `level = "info"`,
  ];
}

function config1(config: ContainerdConfig): string {
  const cri = "io.containerd.grpc.v1.cri";
  return [
    `version = 2`,
    ...common(config.dir),
    `[plugins."${cri}"]`,
    `sandbox_image = "${config.pauseImage}"`,
    // Machines without CAP_SYS_RESOURCE cannot lower a score, and runc would fail every sandbox.
    `restrict_oom_score_adj = true`,
    `stream_server_address = "127.0.0.1"`,
    `stream_server_port = "0"`,
    `disable_apparmor = true`,
    `netns_mounts_under_state_dir = true`,
    `[plugins."${cri}".cni]`,
    `bin_dir = "${CNI_BIN}"`,
    `conf_dir = "${config.dir}/cni"`,
    `[plugins."${cri}".registry]`,
    `config_path = "${config.dir}/certs.d"`,
    `[plugins."${cri}".containerd]`,
    `snapshotter = "overlayfs"`,
    `default_runtime_name = "runc"`,
    ...runtimeTables(cri, config),
    "",
  ].join("\n");
}

function config2(config: ContainerdConfig): string {
  const runtime = "io.containerd.cri.v1.runtime";
  const images = "io.containerd.cri.v1.images";
  return [
    `version = 3`,
    ...common(config.dir),
    `[plugins."io.containerd.nri.v1.nri"]`,
    `disable = ${config.nri !== true}`,
    // By default it has one path for the whole machine.
    `socket_path = "${config.dir}/nri.sock"`,
    `plugin_path = "${config.dir}/nri/plugins"`,
    `plugin_config_path = "${config.dir}/nri/conf.d"`,
    `[plugins."io.containerd.grpc.v1.cri"]`,
    `stream_server_address = "127.0.0.1"`,
    `stream_server_port = "0"`,
    `[plugins."${images}"]`,
    `snapshotter = "overlayfs"`,
    `[plugins."${images}".pinned_images]`,
    `sandbox = "${config.pauseImage}"`,
    `[plugins."${images}".registry]`,
    `config_path = "${config.dir}/certs.d"`,
    `[plugins."${runtime}"]`,
    `restrict_oom_score_adj = true`,
    `disable_apparmor = true`,
    `netns_mounts_under_state_dir = true`,
    `[plugins."${runtime}".cni]`,
    `bin_dirs = ["${CNI_BIN}"]`,
    `conf_dir = "${config.dir}/cni"`,
    `[plugins."${runtime}".containerd]`,
    `default_runtime_name = "runc"`,
    ...runtimeTables(runtime, config),
    "",
  ].join("\n");
}
