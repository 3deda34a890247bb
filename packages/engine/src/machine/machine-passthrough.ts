import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, messageOf } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";
import type { PassthroughSpec } from "@trine/vmm";
import { list, record, text } from "../json-shape.ts";
import type { JsonObject } from "../json-shape.ts";
import { disksDir } from "./disk-volumes.ts";

const GROUP = /^\/dev\/vfio\/(\d{1,9})$/;
const ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
/** PCI class of bridges: they are part of their group and stay the host's. */
const BRIDGE = "0x06";
const GROUPS = "/sys/kernel/iommu_groups";

interface Group {
  readonly number: number;
  readonly major: number;
  readonly minor: number;
}

/** IOMMU groups that a device plugin gave the container. Kind `invalid` for an entry that is no device. */
function vfioGroups(spec: JsonObject): Group[] {
  return list(record(spec["linux"])["devices"])
    .map(record)
    .flatMap((each) => {
      const [, number] = GROUP.exec(text(each["path"])) ?? [];
      if (number === undefined) return [];
      const { type, major, minor } = each;
      if (type !== "c" || !isNumber(major) || !isNumber(minor)) {
        throw new TrineError("invalid", `/dev/vfio/${number} is no character device`);
      }
      return [{ number: Number(number), major, minor }];
    });
}

function isNumber(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xf_ffff;
}

/**
 * The PCI devices of those groups, each with a node that the machine's user alone may open. Repeatable. Kind
 * `unavailable` for a group that the node has not.
 */
export async function passthroughDevices(
  shim: ShimLink,
  podDir: string,
  of: { readonly spec: JsonObject; readonly uid: number; readonly groupsDir?: string },
): Promise<readonly PassthroughSpec[]> {
  const found: PassthroughSpec[] = [];
  for (const { number: group, major, minor } of vfioGroups(of.spec)) {
    const addresses = await addressesOf(
      join(of.groupsDir ?? GROUPS, String(group), "devices"),
      group,
    );
    const node = join(disksDir(podDir), `_vfio-${group}`);
    await shim.mount({ target: node, device: { major, minor, uid: of.uid, character: true } });
    found.push(...addresses.map((address) => ({ address, group, node })));
  }
  return found;
}

async function addressesOf(dir: string, group: number): Promise<string[]> {
  const names = await readdir(dir).catch((cause: unknown) => {
    const why = `IOMMU group ${group}: ${messageOf(cause)}`;
    throw new TrineError("unavailable", why, { cause });
  });
  const addresses: string[] = [];
  for (const name of names.filter((each) => ADDRESS.test(each)).sort()) {
    const kind = await readFile(join(dir, name, "class"), "utf8");
    if (!kind.startsWith(BRIDGE)) addresses.push(name);
  }
  return addresses;
}
