//! File systems on disks, as this mount namespace has them: each once. Those on shares are not among them: whoever
//! looks at one may wait for the agent itself.

use std::fs;
use std::os::unix::ffi::OsStringExt;

/// More of a table is not read.
const MAX_MOUNTS: usize = 4096;

#[derive(Debug, PartialEq, Eq)]
pub struct DiskMount {
    /// MAJOR:MINOR of what its files are said to be on.
    pub number: String,
    pub point: String,
    pub kind: String,
    /// A path below /dev.
    pub source: String,
}

/// In the order in which they were mounted.
pub fn all() -> Vec<DiskMount> {
    listed_in(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn listed_in(table: &str) -> Vec<DiskMount> {
    let mut found: Vec<DiskMount> = Vec::new();
    for mount in table.lines().take(MAX_MOUNTS).filter_map(parse) {
        // Of one that is mounted at several places the first says enough.
        if !found.iter().any(|known| known.number == mount.number) {
            found.push(mount);
        }
    }
    found
}

/// ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS
fn parse(line: &str) -> Option<DiskMount> {
    let (mount, of) = line.split_once(" - ")?;
    let mut of = of.split(' ');
    let (kind, source) = (of.next()?, of.next()?);
    let mut mount = mount.split(' ').skip(2);
    let (number, _root, point) = (mount.next()?, mount.next()?, mount.next()?);
    source.starts_with("/dev/").then(|| DiskMount {
        number: number.to_owned(),
        point: unescaped(point),
        kind: kind.to_owned(),
        source: unescaped(source),
    })
}

/// The kernel writes a space as `\040`, and so on.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(code) = code {
            bytes.push(code);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    std::ffi::OsString::from_vec(bytes)
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_on_disks_are_listed_once_each_in_their_order() {
        let table = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
            23 22 0:5 / /dev rw shared:2 master:1 - devtmpfs udev rw\n\
            24 22 254:16 / /my\\040data\\134 rw - xfs /dev/vdb rw\n\
            25 22 254:1 /home /srv rw - ext4 /dev/vda1 rw\n\
            26 22 0:40 / /share rw - 9p share rw\n\
            nonsense\n";
        let points: Vec<_> = listed_in(table).into_iter().map(|m| m.point).collect();
        assert_eq!(points, ["/", "/my data\\"]);
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescaped("a\\9zz\\04"), "a\\9zz\\04");
    }
}
