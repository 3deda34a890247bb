import type { MachineSettings } from "@trine/annotations";
import { TrineError } from "@trine/base";
import {
  cloudConfigOf,
  cloudConfigText,
  isCloudConfig,
  mergeCloudConfig,
  readCloudConfig,
} from "@trine/cloud-init";
import type { SourceContent } from "./seed-volumes.ts";
import { decodeBase64, fileOf, wholeText } from "./source-text.ts";

type Settings = Pick<
  MachineSettings,
  "userData" | "userDataKey" | "userDataEncoding" | "userDataMerge"
>;

/**
 * user-data of a volume, with the annotation's merged over it or in its place. Where one of them is all there is it
 * is as it was written. Kind `invalid` or `notFound` for what cannot be read or merged.
 */
export function userDataOf(settings: Settings, content: SourceContent): string {
  const { userData, userDataMerge } = settings;
  const base = baseOf(settings, content);
  if (userData === undefined) return typeof base === "string" ? base : cloudConfigText(base);
  if (userDataMerge === "replace") return userData;
  if (!isCloudConfig(userData) || (typeof base === "string" && !isCloudConfig(base))) {
    throw new TrineError(
      "invalid",
      "only cloud-config is merged with trine.dev/user-data, and one of them is none: " +
        "leave one out, or say trine.dev/user-data-merge: replace",
    );
  }
  const under = typeof base === "string" ? readCloudConfig(base, "user-data") : base;
  const over = readCloudConfig(userData, "user-data of the annotation");
  return cloudConfigText(mergeCloudConfig(under, over));
}

/** Text as a whole, or cloud-config of a key for each file. */
function baseOf(
  { userDataKey, userDataEncoding }: Settings,
  content: SourceContent,
): string | ReturnType<typeof readCloudConfig> {
  if (content.kind === "directory" && userDataKey === undefined) {
    if (userDataEncoding === "base64") {
      const why =
        "trine.dev/user-data-encoding is of one file: name it with trine.dev/user-data-key";
      throw new TrineError("invalid", why);
    }
    const texts = [...content.files].map(([name, bytes]) => {
      return [name, wholeText({ kind: "file", bytes })] as const;
    });
    return cloudConfigOf(new Map(texts), "user-data");
  }
  if (content.kind === "file" && userDataKey !== undefined) {
    throw new TrineError("invalid", `is a file: there is no ${userDataKey} in it`);
  }
  const bytes = content.kind === "file" ? content.bytes : fileOf(content.files, userDataKey ?? "");
  const text = wholeText({ kind: "file", bytes });
  if (userDataEncoding === "plain") return text;
  return wholeText({ kind: "file", bytes: decodeBase64(text) });
}
