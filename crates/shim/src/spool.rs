//! The console's copy on disk: every byte, under ever growing positions. At its limit the file becomes
//! PATH.1 and a new one begins, so the newest `limit` bytes are always there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::child_log::open_plain;

const DEFAULT_LIMIT: u64 = 16 << 20;
const MIN_LIMIT: u64 = 64 << 10;

pub struct Spool {
    /// Its directory, which may be renamed: `path` leads through this descriptor.
    _dir: File,
    path: PathBuf,
    limit: u64,
    file: File,
    /// Position of the file's first byte.
    start: u64,
    length: u64,
    previous: Option<(u64, File)>,
}

impl Spool {
    /// Bytes an earlier machine left stay and count from position 0.
    pub fn open(path: &Path, limit: u64) -> io::Result<Spool> {
        let (dir, path) = pinned(path)?;
        let file = open(&path)?;
        let length = file.metadata()?.len();
        Ok(Spool {
            _dir: dir,
            path,
            limit: if limit == 0 {
                DEFAULT_LIMIT
            } else {
                limit.max(MIN_LIMIT)
            },
            file,
            start: 0,
            length,
            previous: None,
        })
    }

    pub fn end(&self) -> u64 {
        self.start + self.length
    }

    pub fn oldest(&self) -> u64 {
        self.previous
            .as_ref()
            .map_or(self.start, |(start, _)| *start)
    }

    /// How many bytes may be appended when those from `floor` on must stay readable.
    pub fn room(&mut self, floor: u64) -> io::Result<u64> {
        if self.length >= self.limit && floor >= self.start {
            self.rotate()?;
        }
        Ok(self.limit.saturating_sub(self.length))
    }

    /// How much was written; less than all only with an error of the disk, which the next call reports.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write_at(bytes, self.length)?;
        self.length += count as u64;
        Ok(count)
    }

    /// Bytes from `position` on, which must not be older than `oldest`. 0 = nothing newer.
    pub fn read(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(offset) = position.checked_sub(self.start) {
            return self.file.read_at(buffer, offset);
        }
        let Some((start, file)) = &self.previous else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let left = usize::try_from(self.start - position).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let part = buffer.get_mut(..length).unwrap_or_default();
        file.read_at(part, position.saturating_sub(*start))
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        // Moved away already: by an attempt that found no room for the new file.
        match std::fs::rename(&self.path, &older) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = open(&self.path)?;
        let full = std::mem::replace(&mut self.file, file);
        self.previous = Some((self.start, full));
        self.start += self.length;
        self.length = 0;
        Ok(())
    }
}

/// The directory of `path`, and the file in it whatever the directory will be called.
fn pinned(path: &Path) -> io::Result<(File, PathBuf)> {
    let named = path.parent().zip(path.file_name());
    let (dir, name) = named.ok_or(io::ErrorKind::InvalidInput)?;
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    let dir = options.open(dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    Ok((dir, path))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    open_plain(options.mode(0o600), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let dir = format!("trine-shim-spool-{}-{name}", std::process::id());
            let dir = std::env::temp_dir().join(dir);
            std::fs::create_dir_all(&dir).expect("temp dir");
            Dir(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn read_all(spool: &Spool, from: u64) -> Vec<u8> {
        let mut all = Vec::new();
        let mut part = [0; 1000];
        loop {
            let count = spool
                .read(from + all.len() as u64, &mut part)
                .expect("read");
            if count == 0 {
                return all;
            }
            all.extend_from_slice(&part[..count]);
        }
    }

    #[test]
    fn positions_go_on_across_a_rotation() {
        let dir = Dir::new("rotate");
        let path = dir.0.join("console.log");
        let mut spool = Spool::open(&path, MIN_LIMIT).expect("open");
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let mut done = 0;
        while done < bytes.len() {
            let room = spool.room(spool.end()).expect("room") as usize;
            let to = bytes.len().min(done + room.min(999));
            done += spool.append(&bytes[done..to]).expect("append");
        }
        assert_eq!(spool.end(), 100_000);
        assert_eq!(read_all(&spool, spool.oldest()), bytes);
        assert_eq!(read_all(&spool, 70_000), &bytes[70_000..]);
        let kept = std::fs::read(dir.0.join("console.log.1")).expect("rotated");
        assert_eq!(kept, &bytes[..MIN_LIMIT as usize]);
    }

    #[test]
    fn a_rotation_that_was_cut_short_is_finished_later() {
        let dir = Dir::new("cut");
        let path = dir.0.join("c");
        let mut spool = Spool::open(&path, MIN_LIMIT).expect("open");
        spool.append(&vec![1; MIN_LIMIT as usize]).expect("append");
        std::fs::rename(&path, dir.0.join("c.1")).expect("rename");
        assert_eq!(spool.room(MIN_LIMIT).expect("room"), MIN_LIMIT);
        assert_eq!(spool.append(b"next").expect("append"), 4);
        assert_eq!(spool.oldest(), 0);
        assert_eq!(std::fs::read(&path).expect("new file"), b"next");
    }

    #[test]
    fn a_directory_that_is_renamed_takes_its_spool_along() {
        let dir = Dir::new("moved");
        let (old, new) = (dir.0.join("spare"), dir.0.join("pod"));
        std::fs::create_dir(&old).expect("directory");
        let mut spool = Spool::open(&old.join("c"), MIN_LIMIT).expect("open");
        spool.append(&vec![1; MIN_LIMIT as usize]).expect("append");
        std::fs::rename(&old, &new).expect("rename");
        assert_eq!(spool.room(MIN_LIMIT).expect("room"), MIN_LIMIT);
        spool.append(b"next").expect("append");
        assert_eq!(std::fs::read(new.join("c")).expect("new file"), b"next");
        let rotated = std::fs::metadata(new.join("c.1")).expect("rotated");
        assert_eq!(rotated.len(), MIN_LIMIT);
    }

    #[test]
    fn bytes_a_reader_still_needs_are_not_rotated_away() {
        let dir = Dir::new("floor");
        let mut spool = Spool::open(&dir.0.join("c"), MIN_LIMIT).expect("open");
        let full = vec![1; MIN_LIMIT as usize];
        spool.append(&full).expect("append");
        assert_eq!(spool.room(0).expect("room"), MIN_LIMIT);
        spool.append(&full).expect("append");
        assert_eq!(spool.room(10).expect("no room"), 0);
        assert_eq!(spool.room(MIN_LIMIT).expect("room"), MIN_LIMIT);
        assert_eq!(spool.oldest(), MIN_LIMIT);
    }
}
