import type { PersistentVolumeClaim, Stored } from "@trine/kube-client";
import { controllerOf } from "../owner.ts";
import { type Volume, isFilled } from "./seen.ts";

/** Of a claim that is to be filled by an upload, whoever made it: `virtctl image-upload pvc` asks so. */
const UPLOAD_TARGET = "cdi.kubevirt.io/storage.upload.target";

/** Whether a claim is filled for itself. One that belongs to somebody is filled, or not, for that. */
export function isUploadTarget(claim: PersistentVolumeClaim): boolean {
  return (
    claim.metadata?.annotations?.[UPLOAD_TARGET] !== undefined && controllerOf(claim) === undefined
  );
}

/** The claim as if it were its own DataVolume: what is decided of one holds for the other. It has no status to be told in. */
export function volumeOf({ metadata, spec, ...claim }: Stored<PersistentVolumeClaim>): Volume {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata,
    spec: { source: { upload: {} }, pvc: spec },
    ...(isFilled({ metadata, spec, ...claim }) ? { status: { phase: "Succeeded" } } : {}),
  };
}
