import { boolean, list, map, needed, object, string } from "../schema/schema.ts";

const pciHostDevice = object({
  pciVendorSelector: needed(string()),
  resourceName: needed(string()),
  externalResourceProvider: boolean(),
});

const mediatedHostDevice = object({
  mdevNameSelector: needed(string()),
  resourceName: needed(string()),
  externalResourceProvider: boolean(),
});

const usbSelector = object({ vendor: needed(string()), product: needed(string()) });

const usbHostDevice = object({
  resourceName: needed(string()),
  selectors: list(usbSelector, { merge: "atomic" }),
  externalResourceProvider: boolean(),
});

export const permittedHostDevices = object({
  pciHostDevices: list(pciHostDevice, { merge: "atomic" }),
  mediatedDevices: list(mediatedHostDevice, { merge: "atomic" }),
  usb: list(usbHostDevice, { merge: "atomic" }),
});

const nodeMediatedDeviceTypesConfig = object({
  nodeSelector: needed(map(string())),
  mediatedDevicesTypes: list(string(), { merge: "atomic" }),
  mediatedDeviceTypes: list(string(), { merge: "atomic" }),
});

export const mediatedDevicesConfiguration = object({
  mediatedDevicesTypes: list(string(), { merge: "atomic" }),
  mediatedDeviceTypes: list(string(), { merge: "atomic" }),
  nodeMediatedDeviceTypes: list(nodeMediatedDeviceTypesConfig, { merge: "atomic" }),
  enabled: boolean(),
});
