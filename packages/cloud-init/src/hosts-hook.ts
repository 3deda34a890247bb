import { isIP } from "node:net";
import { requireValid } from "./require-valid.ts";

/** By which a guest finds the containers beside it. `internal` is nobody's in the world's DNS. */
const CONTAINERS_NAME = "containers.trine.internal";

/** What cloud-init writes /etc/hosts from where its manage_etc_hosts says so. */
const TEMPLATES = "/etc/cloud/templates/hosts.*.tmpl";

/**
 * Vendor data that gives an address a name in the guest, at every boot: a line of its hosts file, and of the template from which
 * cloud-init may write that anew afterwards. All else in them stays. What does not work is said in the guest's kernel log.
 */
export function hostsHook(address: string): string {
  requireValid(isIP(address) !== 0, "hosts", `${address} is no address`);
  const line = `${address} ${CONTAINERS_NAME}`;
  return [
    "#cloud-boothook",
    "#!/bin/sh",
    "# Names the containers beside this machine.",
    // A small system may have none; a link that leads nowhere stays.
    "[ -e /etc/hosts ] || [ -L /etc/hosts ] || : >/etc/hosts",
    `for file in /etc/hosts ${TEMPLATES}; do`,
    '  at=$(readlink -f "$file") && [ -f "$at" ] || continue',
    `  if grep -qxF "${line}" "$at"; then continue; fi`,
    // A new file in the old one's place: a guest that dies here has one of the two.
    `  cp -p "$at" "$at.trine" && { grep -v " ${CONTAINERS_NAME}\\$" "$at"; echo "${line}"; } >"$at.trine" &&`,
    '    mv "$at.trine" "$at" || echo "trine: cannot write $at" >/dev/kmsg',
    "done",
    "",
  ].join("\n");
}
