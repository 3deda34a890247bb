import type { Cache } from "@trine/kube-client";
import type { Cdi, CdiConfig } from "@trine/kube-types";
import type { ControlDeps } from "../controller.ts";
import { CDI_CONFIGS } from "../kinds.ts";

/** The one that clients read. */
const NAME = "config";

interface Said {
  readonly cdis: Cache<Cdi>;
  readonly configs: Cache<CdiConfig>;
}

/** Tells clients where uploads go, as far as somebody has said how that is reached from outside. */
export async function sayUploadProxy(
  { api }: Pick<ControlDeps, "api">,
  { cdis, configs }: Said,
  signal: AbortSignal,
): Promise<void> {
  const config = configs.get(NAME);
  // CDI's own operator writes the first over the second.
  const said = cdis
    .list()
    .map(({ spec }) => spec.config?.uploadProxyURLOverride)
    .concat(config?.spec.uploadProxyURLOverride);
  const url = said.find((each) => each !== undefined && each !== "");
  const { uploadProxyURL: before, ...others } = config?.status ?? {};
  if (url === before) return;
  const status = { ...others, ...(url !== undefined && { uploadProxyURL: url }) };
  // Its kind has no status apart from the rest.
  if (config !== undefined) await api.update(CDI_CONFIGS, { ...config, status }, { signal });
  else await api.create(CDI_CONFIGS, { metadata: { name: NAME }, spec: {}, status }, { signal });
}
