//! Processors and memory that were plugged in while the guest ran.

use std::fs;
use std::io;
use std::path::Path;

use trine_wire::agent::ResourcesResponse;

use crate::sys::during;

const SYSTEM: &str = "/sys/devices/system";

/// Puts everything that is there into use and says how much that is, and how much more than `first_bytes`.
pub fn bring_up(first_bytes: Option<u64>) -> io::Result<ResourcesResponse> {
    switch_on(&format!("{SYSTEM}/cpu"), "cpu", "online", "0", "1")?;
    switch_on(
        &format!("{SYSTEM}/memory"),
        "memory",
        "state",
        "offline",
        "online",
    )?;
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

/// Writes `on` where a numbered unit's file says `off`. What the kernel has put into use meanwhile it refuses to again.
fn switch_on(dir: &str, unit: &str, file: &str, off: &str, on: &str) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        // A kernel without hot-plugging has everything in use.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        if is_unit(&path, unit) {
            let file = path.join(file);
            let is_off = || fs::read_to_string(&file).is_ok_and(|text| text.trim_end() == off);
            if is_off()
                && let Err(error) = fs::write(&file, on)
                && is_off()
            {
                return Err(during(file.display())(error));
            }
        }
    }
    Ok(())
}

fn is_unit(path: &Path, unit: &str) -> bool {
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let number = name.strip_prefix(unit).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
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
    fn only_what_is_off_is_switched_on() {
        let dir = std::env::temp_dir().join(format!("trine-agent-online-{}", std::process::id()));
        for (name, state) in [("cpu0", "1"), ("cpu1", "0"), ("cpufreq", "0")] {
            fs::create_dir_all(dir.join(name)).expect("made");
            fs::write(dir.join(name).join("online"), state).expect("written");
        }
        switch_on(dir.to_str().expect("text"), "cpu", "online", "0", "1").expect("switched");
        let read = |name: &str| fs::read_to_string(dir.join(name).join("online")).expect("there");
        assert_eq!(
            (read("cpu1").as_str(), read("cpufreq").as_str()),
            ("1", "0")
        );
        fs::remove_dir_all(&dir).expect("own files");
    }
}
