import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { exists } from "./cache.ts";
import { runCommand } from "./run-command.ts";

/** A bridge of its own for the pods of one containerd. */
export interface PodBridge {
  name: string;
  subnet: string;
  gateway: string;
  remove(): Promise<void>;
}

/**
 * Makes the bridge `trtkN` with 10.213.N.0/24 for the first N that is free, and the CNI configuration
 * for it (bridge with host-local addresses, portmap) in `dir`/cni. The bridge's alias names the owner;
 * one whose owner is gone is taken over.
 */
export async function createPodBridge(dir: string): Promise<PodBridge> {
  for (let index = 0; index < 256; index++) {
    const name = `trtk${index}`;
    if (!(await claim(name))) continue;
    const gateway = `10.213.${index}.1`;
    const subnet = `10.213.${index}.0/24`;
    await runCommand("ip", ["address", "add", `${gateway}/24`, "dev", name]);
    await runCommand("ip", ["link", "set", name, "up"]);
    await writeNetworkConfig({ dir, name, subnet });
    return { name, subnet, gateway, remove: () => removeLink(name) };
  }
  throw new TrineError("exhausted", "256 test bridges exist; remove the links trtk*");
}

async function claim(name: string): Promise<boolean> {
  if (await exists(`/sys/class/net/${name}`)) {
    const owner = await readFile(`/sys/class/net/${name}/ifalias`, "utf8").catch(() => "");
    const pid = /trine-test pid (\d+)/.exec(owner)?.[1];
    if (pid === undefined || (await exists(`/proc/${pid}`))) return false;
    await removeLink(name);
  }
  // Fails when another process was faster.
  const made = await runCommand("ip", ["link", "add", name, "type", "bridge"]).catch(
    () => undefined,
  );
  if (made === undefined) return false;
  await runCommand("ip", ["link", "set", name, "alias", `trine-test pid ${process.pid}`]);
  return true;
}

async function removeLink(name: string): Promise<void> {
  if (await exists(`/sys/class/net/${name}`)) await runCommand("ip", ["link", "delete", name]);
}

async function writeNetworkConfig(of: {
  dir: string;
  name: string;
  subnet: string;
}): Promise<void> {
  const config = {
    cniVersion: "1.0.0",
    name: `pods-${of.name}`,
    plugins: [
      {
        type: "bridge",
        bridge: of.name,
        // The bridge has its address already: the plugin need not touch the machine's forwarding.
        isGateway: false,
        ipMasq: false,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: join(of.dir, "ipam"),
          ranges: [[{ subnet: of.subnet }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true }, snat: false },
    ],
  };
  await mkdir(join(of.dir, "cni"), { recursive: true });
  await writeFile(join(of.dir, "cni/10-pods.conflist"), JSON.stringify(config, undefined, 2));
}
