/** A test that shows something to work: its file, below the root of the repository, and its title as the file has it. */
export type Proof = readonly [file: string, title: string];

/** `works`: machines follow it. `inert`: it is kept, and its user is told that nothing follows it. `refused`: it is said no to. */
export type State = "works" | "inert" | "refused";

const CONTROLLERS = "packages/controllers/src";

/** Titles of one file. */
function of(file: string): (title: string) => Proof {
  return (title) => [file, title];
}

export const renders = of(`${CONTROLLERS}/vmi/render-pod.test.ts`);
export const hardware = of(`${CONTROLLERS}/vmi/hardware.test.ts`)("hardware: %s");
export const instances = of(`${CONTROLLERS}/vmi/next-step.test.ts`);
export const reconcilesInstance = of(`${CONTROLLERS}/vmi/reconcile-vmi.test.ts`);
export const steps = of(`${CONTROLLERS}/vm/next-step.test.ts`);
export const statuses = of(`${CONTROLLERS}/vm/status.test.ts`);
export const reconciles = of(`${CONTROLLERS}/vm/reconcile-vm.test.ts`);
export const replicas = of(`${CONTROLLERS}/replica-set/replica-set.test.ts`);
export const given = of(`${CONTROLLERS}/vm/given.test.ts`);
export const fillsVolumes = of(`${CONTROLLERS}/data-volume/reconcile-dv.test.ts`);
export const settings = of(`${CONTROLLERS}/installation/controller.test.ts`);
export const ofCluster = of(`${CONTROLLERS}/installation/cluster-settings.test.ts`);
export const expands = of("packages/instancetypes/src/expand.test.ts");
export const infers = of("packages/instancetypes/src/infer.test.ts");
export const prefers = of("packages/instancetypes/src/preference.test.ts");
export const admits = of("packages/virt-api/src/admission/admission.test.ts");
export const answers = of("packages/virt-api/src/subresources/subresources.test.ts");
export const relays = of("packages/virt-api/src/streams/relay.test.ts");
export const qemu = of("packages/vmm-qemu/src/plan-hardware.component.test.ts");

/** On real parts. */
export const onMachines = of("tests/control-machines.ts");
export const onInstances = of("tests/control-instances.ts");
export const onApi = of("tests/virt-api.component.test.ts");
export const onVirtctl = of("tests/virt-api-virtctl.ts");
export const onVolumes = of("tests/machines-uploads.ts");
export const onGrowth = of("tests/machines-growth.ts");
export const onBoot = of("tests/machines-boot.ts");
export const inVolumes = of("tests/machines-volumes.ts");
export const onDoor = of("tests/node-door.component.test.ts");
export const inGuest = of("tests/machine-options.component.test.ts");
export const inHardware = of("tests/machine-hardware.component.test.ts");
export const withDisks = of("tests/machine-disks.component.test.ts");
export const withShares = of("tests/machine-shares.component.test.ts");
export const inPod = of("tests/vm-pod.component.test.ts");
export const besides = of("tests/mixed-pod.component.test.ts");
export const onNetworks = of("tests/interfaces.component.test.ts");
export const firstBoot = of("tests/first-boot.component.test.ts");
