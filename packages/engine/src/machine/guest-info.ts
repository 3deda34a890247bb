import { kindOf } from "@trine/base";
import type { GuestVoice, RequestOptions } from "@trine/guest-link";
import type {
  GuestFileSystem,
  GuestFileSystemList,
  GuestOsInfo,
  GuestUser,
  GuestUserList,
} from "@trine/node-door";
import { cleanCount, cleanText, cleanTexts } from "./clean.ts";

/** More of them are not shown. */
const MAX_ITEMS = 256;
const MAX_DISKS = 16;
const MAX_COMMANDS = 256;
/** Of one question; a whole answer asks several. */
const options: RequestOptions = { timeoutMs: 3_000 };

/** All that the guest's agent says of its system; what it does not know is left out. */
export async function osInfoOf(agent: GuestVoice): Promise<GuestOsInfo> {
  const info = await agent.info(options);
  const frozen = (await known(agent.isFrozen(options))) ?? false;
  const basics = {
    guestAgentVersion: cleanText(info.version),
    supportedCommands: [...info.enabledCommands].slice(0, MAX_COMMANDS).map((name) => ({
      ...{ name: cleanText(name), enabled: true },
    })),
    fsFreezeStatus: frozen ? ("frozen" as const) : ("thawed" as const),
  };
  // One that is frozen answers nothing else.
  if (frozen) return basics;
  const hostname = await known(agent.hostName(options));
  const timezone = await known(agent.timezone(options));
  const os = await known(agent.osInfo(options));
  return {
    ...basics,
    ...cleanTexts({ hostname }),
    ...(os === undefined ? {} : { os: cleanTexts({ ...os }) }),
    ...(timezone === undefined ? {} : { timezone: zoneText(timezone) }),
    userList: (await known(usersOf(agent)))?.items ?? [],
    fsInfo: { disks: (await known(fileSystemsOf(agent)))?.items ?? [] },
  };
}

export async function usersOf(agent: GuestVoice): Promise<GuestUserList> {
  const users = (await agent.users(options)).slice(0, MAX_ITEMS);
  return {
    items: users.map(({ name, domain, loginTime }): GuestUser => ({
      userName: cleanText(name),
      ...cleanTexts({ domain }),
      ...(Number.isFinite(loginTime) ? { loginTime } : {}),
    })),
  };
}

export async function fileSystemsOf(agent: GuestVoice): Promise<GuestFileSystemList> {
  const found = (await agent.fileSystems(options)).slice(0, MAX_ITEMS);
  return {
    items: found.map((each): GuestFileSystem => ({
      diskName: cleanText(each.diskName),
      mountPoint: cleanText(each.mountPoint),
      fileSystemType: cleanText(each.type),
      usedBytes: cleanCount(each.usedBytes),
      totalBytes: cleanCount(each.totalBytes),
      disk: each.disks
        .slice(0, MAX_DISKS)
        .map(({ serial, bus }) => cleanTexts({ serial, busType: bus })),
    })),
  };
}

/** As KubeVirt shows it: "UTC, 0". */
function zoneText({
  name,
  offsetSeconds,
}: {
  name: string | undefined;
  offsetSeconds: number;
}): string {
  return cleanText(`${name ?? ""}, ${offsetSeconds}`);
}

/** Undefined where the agent does not know the command, refuses it or talks nonsense; one that is silent rejects. */
export async function known<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (cause) {
    if (["unimplemented", "wrongState", "malformed", "internal"].includes(kindOf(cause)))
      return undefined;
    throw cause;
  }
}
