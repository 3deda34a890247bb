//! What is mounted where, in the calling thread's mount namespace (`proc(5)`, mountinfo).

use super::sys::during;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system, the same for every mount of it.
    pub device: String,
    pub point: PathBuf,
    pub kind: String,
    /// Options of the file system itself, e.g. the controllers of a cgroup v1 hierarchy.
    pub options: String,
}

/// All mounts, in the order they were made.
pub fn read() -> io::Result<Vec<Mount>> {
    const PATH: &str = "/proc/thread-self/mountinfo";
    let text = std::fs::read(PATH).map_err(during(format!("read {PATH}")))?;
    Ok(parse(&text))
}

/// Lines that make no sense are left out.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = fields.nth(2)?;
    let point = fields.nth(1)?;
    // Optional fields end with a lone hyphen.
    let mut rest = fields.skip_while(|field| *field != b"-");
    let kind = rest.nth(1)?;
    let options = rest.nth(1)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Mount {
        device: text(device),
        point: OsString::from_vec(unescape(point)).into(),
        kind: text(kind),
        options: text(options),
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                plain.push(((a & 7) << 6) | ((b & 7) << 3) | (c & 7));
                rest = tail;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_with_optional_fields_and_escapes() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n\
            broken line\n\
            40 28 0:35 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].point, PathBuf::from("/mnt 2\\x"));
        assert_eq!(mounts[0].kind, "ext3");
        assert_eq!(mounts[1].options, "rw,memory");
        assert_eq!(mounts[1].device, "0:35");
    }

    #[test]
    fn sees_the_mounts_of_this_machine() {
        let mounts = read().unwrap();
        assert!(mounts.iter().any(|mount| mount.kind == "proc"));
    }
}
