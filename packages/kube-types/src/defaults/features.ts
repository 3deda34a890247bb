import type { Clock } from "../kubevirt/clock.ts";
import type { Features } from "../kubevirt/features.ts";

const RETRIES = 4096;

/** A feature that is named is on, unless it says that it is not. */
export function defaultFeatures(features: Features = {}): Features {
  const { acpi, apic, smm, pvspinlock, hyperv } = features;
  return {
    ...features,
    ...on({ acpi, apic, smm, pvspinlock }, "enabled"),
    ...(hyperv !== undefined && { hyperv: defaultHyperv(hyperv) }),
  };
}

type Hyperv = NonNullable<Features["hyperv"]>;

function defaultHyperv(hyperv: Hyperv): Hyperv {
  const all = on({ ...hyperv }, "enabled");
  const { spinlocks, synictimer } = all;
  const direct = synictimer?.direct;
  return {
    ...all,
    ...(spinlocks?.enabled === true && {
      spinlocks: { ...spinlocks, spinlocks: spinlocks.spinlocks ?? RETRIES },
    }),
    ...(direct !== undefined && {
      synictimer: { ...synictimer, direct: { enabled: true, ...direct } },
    }),
  };
}

/** Timers that are named are present. */
export function defaultClock(clock: Clock): Clock {
  const { timer } = clock;
  return { ...clock, ...(timer !== undefined && { timer: on({ ...timer }, "present") }) };
}

/** What of T is there. */
type Named<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** The objects in `of` with `flag` on where they do not say it; those that are not there stay away. */
function on<T extends object>(of: T, flag: "enabled" | "present"): Named<T> {
  const entries = Object.entries(of as Readonly<Record<string, object | undefined>>);
  const set = entries
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, { [flag]: true, ...value }] as const);
  return Object.fromEntries(set) as Named<T>;
}
