import type { CriClient } from "@trine/containerd-client";
import { removeSandboxes } from "./launch-pod.ts";
import type { PodRecord, PodRecords } from "./pod-records.ts";
import { listPodViews } from "./pod-view.ts";

/** Takes away all there is of a pod started by hand, also after ^C. Repeatable. */
export async function removeCompletely(
  cri: CriClient,
  records: PodRecords,
  record: PodRecord,
): Promise<void> {
  const views = await listPodViews(cri, new AbortController().signal);
  const view = views.find(({ uid }) => uid === record.uid);
  if (view !== undefined) await removeSandboxes(cri, view);
  await records.remove(record);
}
