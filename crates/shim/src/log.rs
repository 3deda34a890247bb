//! The shim's own log, in the pod directory. Bounded: at the limit it starts over.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const MAX_BYTES: u64 = 256 << 10;
const MAX_LINE: usize = 1024;

pub struct Log {
    file: Option<File>,
    written: u64,
}

impl Log {
    pub fn open(path: &Path) -> Log {
        let opened = open(path);
        let written = opened.as_ref().ok().and_then(|f| f.metadata().ok());
        Log {
            written: written.map_or(0, |m| m.len()),
            file: opened.ok(),
        }
    }

    /// Never fails: there is nobody to tell.
    pub fn line(&mut self, text: &str) {
        let Some(file) = &mut self.file else { return };
        let cut = text
            .char_indices()
            .nth(MAX_LINE)
            .map_or(text.len(), |(at, _)| at);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let line = format!(
            "{}.{:03} {}\n",
            now.as_secs(),
            now.subsec_millis(),
            text.get(..cut).unwrap_or_default()
        );
        if self.written + line.len() as u64 > MAX_BYTES {
            let _ = file.set_len(0);
            self.written = 0;
        }
        if file.write_all(line.as_bytes()).is_ok() {
            self.written += line.len() as u64;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_below_its_limit() {
        let path = std::env::temp_dir().join(format!("trine-shim-log-{}", std::process::id()));
        let mut log = Log::open(&path);
        for _ in 0..2000 {
            log.line(&"x".repeat(2000));
        }
        assert!(std::fs::metadata(&path).expect("log").len() <= MAX_BYTES);
        std::fs::remove_file(&path).expect("own file");
    }
}
