import { Option } from "commander";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import type { InstallFlags } from "../install/install.ts";
import type { UninstallFlags } from "../install/uninstall.ts";
import type { ClusterFlags, ClusterUninstallFlags } from "../install/cluster.ts";
import { NODE_KINDS } from "../install/node-kind.ts";
import type { Act } from "./act.ts";
import { absolute, duration, examples, withOptions } from "./flag-values.ts";

/** What makes a machine a node, and takes it back. */
export function installCommands(trine: Command, io: Io, act: Act): void {
  const install = withOptions(trine.command("install"), nodeOptions())
    .description("set this node up: containerd's handlers, units, configuration, RuntimeClasses")
    .option(
      "--prefix <dir>",
      "where `make install` has put Trine; default: where this program lies",
      absolute,
    )
    .option("--gateway", "kubelet talks to the gateway; --no-gateway takes that back")
    .addOption(new Option("--no-gateway").hideHelp())
    .option(
      "--lxcfs",
      "containers see their own limits, where the node can; --no-lxcfs: they do not",
    )
    .addOption(new Option("--no-lxcfs").hideHelp())
    .option("--gvisor <dir>", "handler gvisor, of the runsc and containerd-shim-runsc-v1 in there")
    .addOption(
      new Option("--gvisor-package <file>", "the same, out of gVisor's .deb").conflicts("gvisor"),
    )
    .option("--no-gvisor", "takes handler gvisor back")
    .option("--containerd-version <version>", "where it cannot be asked, as in an image: 1.6, 2.1")
    .addOption(
      new Option("--node-kind <name>", "what the node is, where it does not show").choices(
        NODE_KINDS.map(({ name }) => name),
      ),
    )
    .option(
      "--measure",
      "RuntimeClasses charge what the pods that run here now cost, if that is more",
    )
    .option("--image <name>", "with --cluster: the control plane's image, where you keep it")
    .addHelpText(
      "after",
      examples(
        "trine install --dry-run",
        "trine install --restart --kubeconfig ~/.kube/config",
        "trine install --cluster --kubeconfig ~/.kube/config",
      ),
    );
  install.action(
    act(async (flags: InstallFlags & ClusterFlags) => {
      if (flags.cluster) {
        const { installClusterCommand } = await import("../install/cluster.ts");
        await installClusterCommand(io, flags);
        return;
      }
      const { install: run } = await import("../install/install.ts");
      await run(io, flags);
    }),
  );
  withOptions(trine.command("uninstall"), nodeOptions())
    .description("take back what install did: every file is as it was before")
    .option(
      "--force",
      "also while pods of Trine run: they live on, and nobody can remove them",
      false,
    )
    .option(
      "--remove-machines",
      "with --cluster: machines and DataVolumes go too, with their data",
      false,
    )
    .addHelpText(
      "after",
      examples(
        "trine uninstall --dry-run",
        "trine uninstall --restart",
        "trine uninstall --cluster --kubeconfig ~/.kube/config",
      ),
    )
    .action(
      act(async (flags: UninstallFlags & ClusterUninstallFlags) => {
        if (flags.cluster) {
          const { uninstallClusterCommand } = await import("../install/cluster.ts");
          await uninstallClusterCommand(io, flags);
          return;
        }
        const { uninstall } = await import("../install/uninstall.ts");
        await uninstall(io, flags);
      }),
    );
}

function nodeOptions(): Option[] {
  return [
    new Option("--dry-run", "only say what would be done").default(false),
    new Option("--restart", "restart what has changed, without asking").default(false),
    new Option("--root <dir>", "the node's root directory, in a container or an image")
      .argParser(absolute)
      .default("/"),
    new Option(
      "--kubeconfig <file>",
      "which cluster; without --cluster: apply or delete the RuntimeClasses too, by kubectl",
    ),
    new Option(
      "--cluster",
      "the cluster's control plane, and nothing on this node; of an upgrade after all nodes",
    ).default(false),
    new Option("--timeout <time>", "with --cluster: how long to wait for what the cluster does")
      .argParser(duration)
      .default(300_000, "5m"),
  ];
}
