//! Processors and memory that were plugged in while the guest ran.

use std::fs;
use std::io;
use std::path::Path;

use trine_wire::agent::ResourcesResponse;

use crate::sys::during;

const SYSTEM: &str = "/sys/devices/system";

/// A numbered unit's file, and what stands there.
struct Switch {
    unit: &'static str,
    file: &'static str,
    off: &'static str,
    on: &'static str,
}

const CPU: Switch = Switch {
    unit: "cpu",
    file: "online",
    off: "0",
    on: "1",
};
const MEMORY: Switch = Switch {
    unit: "memory",
    file: "state",
    off: "offline",
    on: "online",
};

/// Puts all memory that is there into use, and the first `cpus` processors, no more, and says how much that is, and how much
/// more memory than `first_bytes`.
pub fn bring_up(cpus: usize, first_bytes: Option<u64>) -> io::Result<ResourcesResponse> {
    CPU.put_into_use(&format!("{SYSTEM}/cpu"), cpus)?;
    MEMORY.put_into_use(&format!("{SYSTEM}/memory"), usize::MAX)?;
    Ok(in_use(first_bytes))
}

fn in_use(first_bytes: Option<u64>) -> ResourcesResponse {
    // SAFETY: takes no pointers.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    let bytes = memory_bytes();
    ResourcesResponse {
        cpus: u32::try_from(cpus).unwrap_or(0),
        memory_bytes: bytes,
        added_bytes: first_bytes.map(|first| bytes.saturating_sub(first)),
    }
}

/// Memory the kernel has in use (`MemTotal`): all that is there, less what it keeps for itself, which does not change.
pub fn memory_bytes() -> u64 {
    // SAFETY: takes no pointers.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    u64::try_from(pages).unwrap_or(0) * u64::try_from(page).unwrap_or(0)
}

impl Switch {
    /// The first `count` units of `dir` are on then, the others off, as far as the kernel switches them at all.
    fn put_into_use(&self, dir: &str, count: usize) -> io::Result<()> {
        let mut units = Vec::new();
        let entries = match fs::read_dir(dir) {
            // A kernel without hot-plugging has everything in use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            units.extend(self.number(&path).map(|number| (number, path)));
        }
        units.sort_unstable();
        for (index, (_, path)) in units.iter().enumerate() {
            let (from, to) = if index < count {
                (self.off, self.on)
            } else {
                (self.on, self.off)
            };
            turn(&path.join(self.file), from, to)?;
        }
        Ok(())
    }

    fn number(&self, path: &Path) -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(self.unit)?.parse().ok()
    }
}

/// Writes `to` where a file says `from`. What the kernel has changed meanwhile it refuses to change again.
fn turn(file: &Path, from: &str, to: &str) -> io::Result<()> {
    let is_to_do = || fs::read_to_string(file).is_ok_and(|text| text.trim_end() == from);
    if is_to_do()
        && let Err(error) = fs::write(file, to)
        && is_to_do()
    {
        return Err(during(file.display())(error));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_told_where_it_is_known_what_there_was() {
        let all = memory_bytes();
        assert!(all > 0);
        let added = |first| in_use(first).added_bytes;
        assert_eq!(added(None), None);
        assert_eq!(added(Some(all)), Some(0));
        assert_eq!(added(Some(all - 4096)), Some(4096));
    }

    #[test]
    fn the_first_processors_are_on_and_the_others_off() {
        let dir = std::env::temp_dir().join(format!("trine-agent-online-{}", std::process::id()));
        fs::create_dir_all(dir.join("cpu0")).expect("made"); // one that cannot be switched
        for (name, state) in [
            ("cpu2", "1\n"),
            ("cpu1", "0\n"),
            ("cpu10", "0"),
            ("cpufreq", "0"),
        ] {
            fs::create_dir_all(dir.join(name)).expect("made");
            fs::write(dir.join(name).join("online"), state).expect("written");
        }
        let after = |count| {
            CPU.put_into_use(dir.to_str().expect("text"), count)
                .expect("switched");
            ["cpu1", "cpu2", "cpu10", "cpufreq"]
                .map(|name| fs::read_to_string(dir.join(name).join("online")).expect("there"))
                .map(|text| text.trim_end().to_owned())
        };
        assert_eq!(after(3), ["1", "1", "0", "0"]);
        assert_eq!(after(usize::MAX), ["1", "1", "1", "0"]);
        assert_eq!(after(1), ["0", "0", "0", "0"]);
        assert_eq!(after(2), ["1", "0", "0", "0"]);
        fs::remove_dir_all(&dir).expect("own files");
    }
}
