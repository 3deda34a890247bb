import { DUPLICATE, INVALID, REQUIRED, UNSUPPORTED, type FaultRow } from "../objects.ts";

export const DEVICES_FAULTS: readonly FaultRow[] = [
  [
    "an input of an unknown type",
    { "domain.devices.inputs[0]": { name: "i", type: "joystick" } },
    `domain.devices.inputs[0].type ${UNSUPPORTED}`,
  ],
  [
    "an input on an unknown bus",
    { "domain.devices.inputs[0]": { name: "i", type: "tablet", bus: "ps2" } },
    `domain.devices.inputs[0].bus ${UNSUPPORTED}`,
  ],
  [
    "two inputs of a name",
    {
      "domain.devices.inputs": [
        { name: "i", type: "tablet" },
        { name: "i", type: "tablet" },
      ],
    },
    `domain.devices.inputs[1].name ${DUPLICATE}`,
  ],
  [
    "a watchdog of no kind",
    { "domain.devices.watchdog": { name: "w" } },
    `domain.devices.watchdog ${REQUIRED}`,
  ],
  [
    "a watchdog of two kinds",
    { "domain.devices.watchdog": { name: "w", i6300esb: {}, diag288: {} } },
    `domain.devices.watchdog ${INVALID}`,
  ],
  [
    "a watchdog that barks",
    { "domain.devices.watchdog": { name: "w", i6300esb: { action: "bark" } } },
    `domain.devices.watchdog.i6300esb.action ${UNSUPPORTED}`,
  ],
  [
    "an unknown sound card",
    { "domain.devices.sound": { name: "s", model: "sb16" } },
    `domain.devices.sound.model ${UNSUPPORTED}`,
  ],
  [
    "an unknown graphics card",
    { "domain.devices.video.type": "vga9000" },
    `domain.devices.video.type ${UNSUPPORTED}`,
  ],
  [
    "a graphics card that is off",
    { "domain.devices.video.type": "vga", "domain.devices.autoattachGraphicsDevice": false },
    `domain.devices.video ${INVALID}`,
  ],
  [
    "a log of no console",
    { "domain.devices.logSerialConsole": true, "domain.devices.autoattachSerialConsole": false },
    `domain.devices.logSerialConsole ${INVALID}`,
  ],
  [
    "an unknown panic device",
    { "domain.devices.panicDevices[0].model": "x" },
    `domain.devices.panicDevices[0].model ${UNSUPPORTED}`,
  ],
  [
    "an unknown policy of threads",
    { "domain.ioThreadsPolicy": "many" },
    `domain.ioThreadsPolicy ${UNSUPPORTED}`,
  ],
  [
    "a pool of no threads",
    { "domain.ioThreadsPolicy": "supplementalPool" },
    `domain.ioThreads.supplementalPoolThreadCount ${REQUIRED}`,
  ],
];
