//! Lists the directories in a directory that is held open.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys::{check_long, open_at};

/// Names of the directories in `dir`.
pub fn children(dir: &OwnedFd) -> Vec<String> {
    // A descriptor of its own: the position in a directory belongs to the open file.
    let Ok(list) = open_at(dir, ".", libc::O_DIRECTORY) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        // SAFETY: the pointer and the length describe `buffer`.
        let count = check_long(unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                list.as_raw_fd(),
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        });
        let Some(filled) = count
            .ok()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| *n > 0)
            .and_then(|n| buffer.get(..n))
        else {
            return names;
        };
        names.extend(directories(filled));
    }
}

/// The directories among `struct linux_dirent64` records: u64 inode, i64 offset, u16 length, u8 type, name.
fn directories(mut records: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(&[low, high, kind]) = records.get(16..19).and_then(|b| b.first_chunk::<3>()) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some(name) = records.get(19..length) else {
            break;
        };
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        if kind == libc::DT_DIR && name != b"." && name != b".." {
            names.extend(String::from_utf8(name.to_vec()));
        }
        records = records.get(length..).unwrap_or_default();
    }
    names
}
