//! What an older link has left mounted, where the machine's owner may have mounted something of their own over it since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::SOURCE;
use crate::mounts::unmount;
use crate::sys::during;

#[derive(Debug, Default, PartialEq, Eq)]
struct Old {
    /// Uppermost at their places, lowest first.
    ours: Vec<String>,
    /// Places where something else lies over ours. A path names only what is uppermost: there nothing is taken off.
    covered: Vec<String>,
}

/// Nothing answers there any more. Answers the places that were left alone, as what lies over ours is the owner's.
pub fn take_off() -> io::Result<Vec<String>> {
    // Of what others mount no name has to be text.
    let mounts = fs::read("/proc/self/mounts").map_err(during("read the mounts"))?;
    let old = old_in(&String::from_utf8_lossy(&mounts));
    for target in old.ours.iter().rev() {
        // What it was mounted in may have gone with it.
        if let Err(error) = unmount(target) {
            eprintln!("trine-agent: {error}");
        }
    }
    Ok(old.covered)
}

/// An error where `target` is one of the places that were left alone, or would be in what lies there.
pub fn refuse_below(covered: &[String], target: &str) -> io::Result<()> {
    if covered.is_empty() {
        return Ok(());
    }
    let real = resolved(target);
    match covered.iter().find(|place| real.starts_with(place)) {
        Some(place) => Err(io::Error::other(format!(
            "left alone: something else is mounted over the volume at {place}"
        ))),
        None => Ok(()),
    }
}

/// As the list of mounts names it: without links, as far as it is there.
fn resolved(target: &str) -> PathBuf {
    let target = Path::new(target);
    let there = |at: &Path| Some((fs::canonicalize(at).ok()?, target.strip_prefix(at).ok()?));
    let real = target
        .ancestors()
        .find_map(|at| there(at).map(|(real, rest)| real.join(rest)));
    real.unwrap_or_else(|| target.to_owned())
}

/// Lines of the same place are lowest first.
fn old_in(mounts: &str) -> Old {
    let mut old = Old::default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(source), Some(target), Some(kind)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let target = unescape(target);
        if source == SOURCE && kind == "9p" {
            old.ours.push(target);
        } else if old.ours.contains(&target) {
            old.ours.retain(|ours| *ours != target);
            old.covered.push(target);
        }
    }
    old
}

/// The kernel writes spaces and the like as \ooo.
fn unescape(word: &str) -> String {
    let mut parts = word.split('\\');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => out.push(code),
            None => out.push(b'\\'),
        }
        let rest = part.get(if code.is_some() { 3 } else { 0 }..);
        out.extend_from_slice(rest.unwrap_or_default().as_bytes());
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "trine-shares /run/trine/shares 9p rw 0 0\n";
    const OURS: &str = "trine-shares /opt/it's\\040one 9p ro 0 0\n";
    const OWNERS: &str = "tmpfs /opt/it's\\040one tmpfs rw 0 0\n";

    #[test]
    fn only_our_own_mounts_are_found_again() {
        let others = "other /mnt 9p rw 0 0\ntrine-shares /x tmpfs rw 0 0\n";
        let old = old_in(&[ALL, others, OURS].concat());
        assert_eq!(old.ours, ["/run/trine/shares", "/opt/it's one"]);
        assert!(old.covered.is_empty());
    }

    #[test]
    fn what_lies_over_ours_stays() {
        let ours = ["/run/trine/shares"];
        let old = old_in(&[OURS, ALL, OWNERS].concat());
        assert_eq!(old.ours, ours);
        assert_eq!(old.covered, ["/opt/it's one"]);
        // Ours on top again goes, and not what is below it.
        let old = old_in(&[ALL, OURS, OURS, OWNERS, OURS].concat());
        assert_eq!(old.ours, ["/run/trine/shares", "/opt/it's one"]);
        assert_eq!(old.covered, ["/opt/it's one"]);
        let old = old_in(&[OWNERS, OURS, OURS].concat());
        assert_eq!(old.ours, ["/opt/it's one", "/opt/it's one"]);
        assert!(old.covered.is_empty());
    }

    #[test]
    fn nothing_is_mounted_in_what_lies_over_ours() {
        let covered = ["/no/where".to_owned()];
        for left in ["/no/where", "/no/where/", "/no/where/below"] {
            let refused = refuse_below(&covered, left).expect_err(left);
            assert!(refused.to_string().contains("at /no/where"), "{refused}");
        }
        for free in ["/no", "/no/where2", "/else"] {
            refuse_below(&covered, free).expect(free);
        }
        // Of a place behind a link the list of mounts has the real one.
        let own = format!("/proc/{}/task", std::process::id());
        assert!(refuse_below(&[own], "/proc/self/task/not there").is_err());
    }

    #[test]
    fn escapes_of_the_kernel_are_read() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescape("/a\\"), "/a\\");
        assert_eq!(unescape("/a\\zz"), "/a\\zz");
    }
}
