// Verbs that are not served: each is refused as KubeVirt refuses it where the feature is off.
import { badRequest, conflict } from "../refusals/refusal.ts";
import { decodeBody } from "../http/decode-body.ts";
import type { Handle } from "./call.ts";
import { aboutInstance, aboutMachine, getInstance, getMachine, instanceOf } from "./objects.ts";
import { requireUsb } from "./display.ts";
import { memoryDumpRequest, removeVolumeOptions } from "./options.ts";

const HOT_PLUG = "Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.";

export const addVolume: Handle = () => Promise.reject(badRequest(HOT_PLUG));

export const removeVolume: Handle = (_, { body }) => {
  decodeBody(body, removeVolumeOptions);
  return Promise.reject(badRequest(HOT_PLUG));
};

export const memoryDump: Handle = (_, { body }) => {
  decodeBody(body, memoryDumpRequest);
  return Promise.reject(badRequest(HOT_PLUG));
};

/** There is never a dump to take away. */
export const removeMemoryDump: Handle = async (deps, { target, signal }) => {
  const { name } = target;
  await getMachine(deps, target, signal);
  const why = `can't remove memory dump association for vm ${name}, no association found`;
  throw conflict(aboutMachine(name), why);
};

export const objectGraph: Handle = () =>
  Promise.reject(
    badRequest("ObjectGraph feature gate not enabled: Unable to return object graph."),
  );

export const sev: Handle = () =>
  Promise.reject(badRequest("'WorkloadEncryptionSEV' feature gate is not enabled"));

export const backup: Handle = async (deps, { target, signal }) => {
  const instance = await getInstance(deps, target, signal);
  const about = aboutInstance(target.name);
  if (instance.status?.phase !== "Running") throw conflict(about, "VM is not running");
  throw conflict(about, "ChangedBlockTracking is not enabled");
};

export const redefineCheckpoint: Handle = async (deps, { target, signal }) => {
  await getInstance(deps, target, signal);
  throw conflict(aboutInstance(target.name), "ChangedBlockTracking is not enabled");
};

/** No machine has slots for devices of a client's, also where it asks for them. */
export const usbRedirection: Handle = async (deps, { target, signal }) => {
  requireUsb(await instanceOf(deps, target, signal));
  throw conflict(aboutInstance(target.name), "Not configured with USB Redirection");
};

export const vsock: Handle = async (deps, { target, signal }) => {
  await instanceOf(deps, target, signal);
  throw badRequest("VSOCK is not attached.");
};
