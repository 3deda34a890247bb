//! Whether a spare would do for a pod: its guest must be of the size the pod is given, and no annotation may
//! ask for what it is not. The rules are those of the engine's guest-size.ts; their numbers come with the
//! class, and trined looks again before it uses the guest.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::json::Value;
use crate::pod::{Role, Spec};

const VERSION: u64 = 1;
const MAX_CLASS_BYTES: u64 = 64 << 10;
const MIB: u64 = 1 << 20;
/// Of cgroup v1's scale, which CRI uses: one CPU, and what a pod without a request has.
const SHARES_PER_CPU: u64 = 1024;
const NO_SHARES: u64 = 2;
const DEFAULT_PERIOD: u64 = 100_000;
const OURS: &str = "trine.dev/";

/// `class.json`, written by trined: what the spares beside it are, and for whom.
#[derive(Debug)]
pub struct Class {
    runtimes: Vec<String>,
    cpus: u64,
    memory: u64,
    default_cpus: u64,
    default_memory: u64,
    most_cpus: u64,
    least_memory: u64,
    /// As far as this a guest has that besides its pod's limit.
    besides_below: u64,
    /// Annotations a pod may have, with the texts that ask for just this class.
    annotations: Value,
}

impl Class {
    /// `None`: it is none, or of a trined whose classes mean something else.
    pub fn read(path: &Path) -> Option<Class> {
        let mut text = Vec::new();
        let file = File::open(path).ok()?;
        file.take(MAX_CLASS_BYTES).read_to_end(&mut text).ok()?;
        Class::from_json(&Value::parse(&text)?)
    }

    fn from_json(class: &Value) -> Option<Class> {
        let number = |key| class.get(key).and_then(Value::number);
        if number("version")? != VERSION {
            return None;
        }
        let runtimes = class.get("runtimes")?.list().iter();
        Some(Class {
            runtimes: runtimes
                .filter_map(Value::text)
                .map(str::to_owned)
                .collect(),
            cpus: number("cpus")?,
            memory: number("memoryBytes")?,
            default_cpus: number("defaultCpus")?,
            default_memory: number("defaultMemoryBytes")?,
            most_cpus: number("mostCpus")?,
            least_memory: number("leastMemoryBytes")?,
            besides_below: number("besidesBelowBytes")?,
            annotations: class.get("annotations")?.clone(),
        })
    }

    pub fn fits(&self, runtime: &str, spec: &Spec) -> bool {
        let serves = self.runtimes.iter().any(|name| name == runtime);
        let mut ours = spec
            .annotations
            .iter()
            .filter(|(key, _)| key.starts_with(OURS));
        let allowed = |(key, text): (&String, &String)| {
            let texts = self.annotations.get(key).map(Value::list);
            let mut texts = texts.unwrap_or_default().iter();
            texts.any(|allowed| allowed.text() == Some(text.as_str()))
        };
        // What an annotation says has been compared with the class word by word; it rules over the rest.
        let said = |key: &str| spec.annotations.contains_key(&format!("{OURS}{key}"));
        serves
            && ours.all(allowed)
            && (said("cpus") || self.cpus_of(spec) == self.cpus)
            && (said("memory") || self.memory_of(spec) == self.memory)
    }

    fn memory_of(&self, spec: &Spec) -> u64 {
        let wanted = match spec.role {
            Role::Alone => spec.memory_limit,
            _ => cri(spec, "memory"),
        };
        let with_kernel = |limit: u64| {
            let both = limit.saturating_add(self.least_memory);
            limit.max(both.min(self.besides_below))
        };
        let whole = wanted.map_or(self.default_memory, with_kernel) / MIB * MIB;
        whole.max(self.least_memory)
    }

    fn cpus_of(&self, spec: &Spec) -> u64 {
        let period = cri(spec, "cpu-period").unwrap_or(DEFAULT_PERIOD);
        let shares = cri(spec, "cpu-shares").filter(|shares| *shares > NO_SHARES);
        let wanted = match cri(spec, "cpu-quota") {
            Some(quota) => Some(quota.div_ceil(period)),
            None => shares.map(|shares| shares.div_ceil(SHARES_PER_CPU)),
        };
        wanted.map_or(self.default_cpus, |cpus| cpus.min(self.most_cpus))
    }
}

/// What containerd says of a pod as a whole, on its sandbox; what is no positive number is not said.
fn cri(spec: &Spec, key: &str) -> Option<u64> {
    let text = spec
        .annotations
        .get(&format!("io.kubernetes.cri.sandbox-{key}"))?;
    text.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNTIME: &str = "containerd-shim-trine-microvm-v2";

    fn class() -> Class {
        let text = format!(
            r#"{{"version":1,"runtimes":["{RUNTIME}"],"cpus":2,"memoryBytes":268435456,"defaultCpus":1,
            "defaultMemoryBytes":268435456,"mostCpus":4,"leastMemoryBytes":100663296,
            "besidesBelowBytes":201326592,"annotations":{{"trine.dev/memory":["256Mi"]}}}}"#
        );
        Class::from_json(&Value::parse(text.as_bytes()).expect("JSON")).expect("a class")
    }

    fn pod(annotations: &[(&str, &str)]) -> Spec {
        let pairs = annotations.iter();
        Spec {
            role: Role::Sandbox,
            annotations: pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..Spec::default()
        }
    }

    const TWO: (&str, &str) = ("io.kubernetes.cri.sandbox-cpu-quota", "150000");

    #[test]
    fn a_pod_of_the_size_of_the_class_fits_in_whatever_words() {
        for words in [
            &[TWO][..],
            &[("io.kubernetes.cri.sandbox-cpu-shares", "1025")],
            &[TWO, ("trine.dev/memory", "256Mi")],
            &[TWO, ("io.kubernetes.cri.sandbox-memory", "268435457")],
            &[TWO, ("io.kubernetes.cri.sandbox-memory", "0")],
            &[TWO, ("some.other/annotation", "x")],
        ] {
            assert!(class().fits(RUNTIME, &pod(words)), "{words:?}");
        }
    }

    #[test]
    fn every_other_pod_starts_anew() {
        for words in [
            &[][..],
            &[("io.kubernetes.cri.sandbox-cpu-quota", "50000")],
            &[("io.kubernetes.cri.sandbox-cpu-quota", "900000")],
            &[TWO, ("io.kubernetes.cri.sandbox-memory", "536870912")],
            &[TWO, ("trine.dev/memory", "268435456")],
            &[TWO, ("trine.dev/something", "new")],
        ] {
            assert!(!class().fits(RUNTIME, &pod(words)), "{words:?}");
        }
        assert!(!class().fits("containerd-shim-trine-vm-v2", &pod(&[TWO])));
    }

    #[test]
    fn a_container_of_ctr_says_its_memory_itself() {
        let alone = |limit| Spec {
            role: Role::Alone,
            memory_limit: limit,
            ..pod(&[TWO])
        };
        assert!(class().fits(RUNTIME, &alone(None)));
        assert!(class().fits(RUNTIME, &alone(Some(268_435_456))));
        assert!(!class().fits(RUNTIME, &alone(Some(536_870_912))));
    }

    #[test]
    fn a_small_limit_has_its_kernel_besides() {
        let limit = |bytes: &'static str| pod(&[TWO, ("io.kubernetes.cri.sandbox-memory", bytes)]);
        // 64, 128 and 192 MiB; the least is 96.
        for (bytes, guest) in [("67108864", 160), ("134217728", 192), ("201326592", 192)] {
            let class = Class {
                memory: guest * MIB,
                ..class()
            };
            assert!(class.fits(RUNTIME, &limit(bytes)), "{bytes}");
        }
        assert!(!class().fits(RUNTIME, &limit("134217728")));
    }

    #[test]
    fn a_class_of_another_version_is_none() {
        let other = br#"{"version":2,"runtimes":[],"cpus":1}"#;
        assert!(Class::from_json(&Value::parse(other).expect("JSON")).is_none());
    }
}
