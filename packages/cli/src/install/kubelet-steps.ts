import { TrineError } from "@trine/base";
import type { NodeFiles } from "./node-files.ts";
import { ownFile } from "./marked-text.ts";
import type { TextStep } from "./step.ts";

/** Where systemd looks for units, the strongest last. */
const UNIT_DIRS = ["/lib", "/usr/lib", "/usr/local/lib", "/run", "/etc"].map(
  (dir) => `${dir}/systemd/system`,
);
const DROP_IN = "/etc/systemd/system/kubelet.service.d/90-trine.conf";
const GATEWAY = "unix:///run/trine-cri.sock";

/** kubelet's command as its unit and drop-ins say it, ours left out; kind `unimplemented` where there is no unit. */
export async function kubeletCommand(files: NodeFiles): Promise<string> {
  let unit: string | undefined;
  const dropIns = new Map<string, string>();
  for (const dir of UNIT_DIRS) {
    unit = (await files.read(`${dir}/kubelet.service`)) ?? unit;
    for (const name of await files.list(`${dir}/kubelet.service.d`)) {
      const path = `${dir}/kubelet.service.d/${name}`;
      if (name.endsWith(".conf") && path !== DROP_IN) {
        dropIns.set(name, (await files.read(path)) ?? "");
      }
    }
  }
  if (unit === undefined) {
    const what = "there is no kubelet.service: give kubelet --container-runtime-endpoint yourself";
    throw new TrineError("unimplemented", `${what}=${GATEWAY}`);
  }
  const names = [...dropIns.keys()].sort();
  return lastCommand([unit, ...names.map((name) => dropIns.get(name) ?? "")]);
}

/** An empty ExecStart= takes back those before it. */
function lastCommand(texts: readonly string[]): string {
  let commands: string[] = [];
  for (const line of texts.flatMap((text) => text.replaceAll(/\s*\\\r?\n\s*/g, " ").split("\n"))) {
    const command = /^\s*ExecStart\s*=\s*(.*?)\s*$/.exec(line)?.[1];
    if (command === "") commands = [];
    else if (command !== undefined) commands.push(command);
  }
  const [command, second] = commands;
  if (command !== undefined && second === undefined) return command;
  throw new TrineError("invalid", `kubelet.service has ${commands.length} commands; one is wanted`);
}

/** kubelet's own command, the gateway's socket behind it: of a flag given twice the last one holds. */
export function kubeletStep(command: string): TextStep {
  const body = `[Service]\nExecStart=\nExecStart=${command} --container-runtime-endpoint=${GATEWAY}\n`;
  return {
    kind: "text",
    what: "kubelet's socket: the gateway",
    path: DROP_IN,
    restarts: ["kubelet"],
    edit: () => ownFile(body),
  };
}
