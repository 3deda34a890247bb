//! File systems on disks, as this mount namespace has them: each once. Those on shares are not among them: whoever
//! looks at one may wait for the agent itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::sys::{during, invalid};

const TABLE: &str = "/proc/self/mountinfo";
/// Of a longer table nothing is said: a part of it is no list of all file systems.
const MAX_BYTES: u64 = 32 << 20;
const MAX_FILE_SYSTEMS: usize = 4096;

#[derive(Debug, PartialEq, Eq)]
pub struct DiskMount {
    /// MAJOR:MINOR of what its files are said to be on.
    pub number: String,
    pub point: PathBuf,
    pub kind: String,
    /// A path below /dev.
    pub source: String,
}

/// In the order in which they were mounted. An error where they cannot all be told.
pub fn all() -> io::Result<Vec<DiskMount>> {
    let mut table = Vec::new();
    File::open(TABLE)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut table))
        .map_err(during(TABLE))?;
    listed_in(&table, MAX_BYTES)
}

fn listed_in(table: &[u8], most: u64) -> io::Result<Vec<DiskMount>> {
    if table.len() as u64 > most {
        return Err(invalid(format!("{TABLE}: more than {most} bytes")));
    }
    let mut found: Vec<DiskMount> = Vec::new();
    for mount in table.split(|byte| *byte == b'\n').filter_map(parse) {
        // Of one that is mounted at several places the first says enough.
        if found.iter().any(|known| known.number == mount.number) {
            continue;
        }
        if found.len() == MAX_FILE_SYSTEMS {
            return Err(invalid(format!(
                "{TABLE}: more than {MAX_FILE_SYSTEMS} file systems"
            )));
        }
        found.push(mount);
    }
    Ok(found)
}

/// ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS; names of any bytes.
fn parse(line: &[u8]) -> Option<DiskMount> {
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (number, _root, point) = (words.next()?, words.next()?, words.next()?);
    let mut of = words.skip_while(|word| *word != b"-").skip(1);
    let (kind, source) = (of.next()?, of.next()?);
    source.starts_with(b"/dev/").then(|| DiskMount {
        number: text(number.to_vec()),
        point: OsString::from_vec(unescaped(point)).into(),
        kind: text(kind.to_vec()),
        source: text(unescaped(source)),
    })
}

fn text(words: Vec<u8>) -> String {
    String::from_utf8_lossy(&words).into_owned()
}

/// The kernel writes a space as `\040`, and so on.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
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
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn those_on_disks_are_listed_once_each_in_their_order() {
        let table = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
            23 22 0:5 / /dev rw shared:2 master:1 - devtmpfs udev rw\n\
            24 22 254:16 / /my\\040data\\134 rw - xfs /dev/vdb rw\n\
            25 22 254:1 /home /srv rw - ext4 /dev/vda1 rw\n\
            26 22 0:40 / /share rw - 9p share rw\n\
            nonsense\n";
        let found = listed_in(table.as_bytes(), MAX_BYTES).expect("short");
        let points: Vec<_> = found.into_iter().map(|m| m.point).collect();
        assert_eq!(points, [Path::new("/"), Path::new("/my data\\")]);
    }

    #[test]
    fn a_name_that_is_no_text_hides_no_file_system() {
        let table = b"22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n\
            24 22 0:44 / /\xff\xfe rw - tmpfs \xff rw\n\
            25 22 254:16 / /d\xe4ta rw - xfs /dev/vdb rw\n";
        let points: Vec<_> = listed_in(table, MAX_BYTES)
            .expect("short")
            .into_iter()
            .map(|mount| mount.point.into_os_string().into_vec())
            .collect();
        assert_eq!(points, [b"/".to_vec(), b"/d\xe4ta".to_vec()]);
    }

    #[test]
    fn of_a_table_that_is_too_long_no_part_is_taken_for_the_whole() {
        let line =
            |number: usize| format!("9 1 254:{number} / /{number} rw - xfs /dev/v{number} rw\n");
        let table = |count: usize| (0..count).map(line).collect::<String>().into_bytes();
        let fits = listed_in(&table(MAX_FILE_SYSTEMS), MAX_BYTES).expect("as many as may be");
        assert_eq!(fits.len(), MAX_FILE_SYSTEMS);
        assert!(listed_in(&table(MAX_FILE_SYSTEMS + 1), MAX_BYTES).is_err());
        assert!(listed_in(&table(2), table(2).len() as u64).is_ok());
        assert!(listed_in(&table(2), table(2).len() as u64 - 1).is_err());
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescaped(b"a\\9zz\\04"), b"a\\9zz\\04");
    }
}
