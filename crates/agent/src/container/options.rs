//! The words of a mount's options, sorted into what the kernel takes where.

use crate::sys::invalid;

/// What a mount's options ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub bind: bool,
    pub recursive: bool,
    /// MOUNT_ATTR_* to set and to clear.
    pub set: u64,
    pub clear: u64,
    /// The same for everything mounted below too.
    pub set_below: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with or without MS_REC.
    pub propagation: Option<u64>,
    /// For the file system itself: `key=value` or a word.
    pub data: Vec<(String, Option<String>)>,
}

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NO_DEV: u64 = libc::MOUNT_ATTR_NODEV;
const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
const NO_DIR_ATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;

impl Options {
    pub fn parse(kind: &str, words: &[String]) -> std::io::Result<Options> {
        let mut options = Options {
            bind: kind == "bind",
            ..Options::default()
        };
        for word in words {
            options.word(word)?;
        }
        Ok(options)
    }

    fn word(&mut self, word: &str) -> std::io::Result<()> {
        match word {
            "" | "defaults" | "rprivate-default" => {}
            "bind" => self.bind = true,
            "rbind" => {
                self.bind = true;
                self.recursive = true;
            }
            "ro" => self.add(READ_ONLY),
            "rw" => self.remove(READ_ONLY),
            "rro" => self.set_below |= READ_ONLY,
            "nosuid" => self.add(NO_SUID),
            "suid" => self.remove(NO_SUID),
            "nodev" => self.add(NO_DEV),
            "dev" => self.remove(NO_DEV),
            "noexec" => self.add(NO_EXEC),
            "exec" => self.remove(NO_EXEC),
            "rnosuid" => self.set_below |= NO_SUID,
            "rnodev" => self.set_below |= NO_DEV,
            "rnoexec" => self.set_below |= NO_EXEC,
            "nodiratime" => self.add(NO_DIR_ATIME),
            "diratime" => self.remove(NO_DIR_ATIME),
            "noatime" => self.access_times(libc::MOUNT_ATTR_NOATIME),
            "strictatime" => self.access_times(libc::MOUNT_ATTR_STRICTATIME),
            "relatime" | "atime" => self.access_times(libc::MOUNT_ATTR_RELATIME),
            "private" => self.propagation = Some(libc::MS_PRIVATE),
            "rprivate" => self.propagation = Some(libc::MS_PRIVATE | libc::MS_REC),
            "slave" => self.propagation = Some(libc::MS_SLAVE),
            "rslave" => self.propagation = Some(libc::MS_SLAVE | libc::MS_REC),
            "shared" => self.propagation = Some(libc::MS_SHARED),
            "rshared" => self.propagation = Some(libc::MS_SHARED | libc::MS_REC),
            "unbindable" => self.propagation = Some(libc::MS_UNBINDABLE),
            "runbindable" => self.propagation = Some(libc::MS_UNBINDABLE | libc::MS_REC),
            "remount" | "idmap" | "ridmap" | "tmpcopyup" => {
                return Err(invalid(format!("the mount option {word} is not supported")));
            }
            _ => self.data.push(match word.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            }),
        }
        Ok(())
    }

    fn add(&mut self, attribute: u64) {
        self.set |= attribute;
        self.clear &= !attribute;
    }

    fn remove(&mut self, attribute: u64) {
        self.set &= !attribute;
        self.clear |= attribute;
    }

    fn access_times(&mut self, which: u64) {
        self.set = self.set & !ATIME | which;
        self.clear |= ATIME;
    }
}

/// The word of linux.rootfsPropagation; none = as the mounts are.
pub fn propagation(word: &str) -> std::io::Result<Option<u64>> {
    if word.is_empty() {
        return Ok(None);
    }
    let options = Options::parse("", &[word.to_owned()])?;
    match options.propagation {
        Some(flags) => Ok(Some(flags)),
        None => Err(invalid(format!("{word:?} is no mount propagation"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, words: &[&str]) -> Options {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Options::parse(kind, &words).expect("known words")
    }

    #[test]
    fn flags_binds_and_data_go_where_they_belong() {
        let options = parse(
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k", "ro"],
        );
        assert_eq!(
            options.set,
            NO_SUID | libc::MOUNT_ATTR_STRICTATIME | READ_ONLY
        );
        assert_eq!(options.data.len(), 2);
        assert!(!options.bind);

        let options = parse("bind", &["rbind", "rprivate", "ro", "rw"]);
        assert!(options.bind && options.recursive);
        assert_eq!((options.set, options.clear), (0, READ_ONLY));
        assert_eq!(options.propagation, Some(libc::MS_PRIVATE | libc::MS_REC));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert!(Options::parse("bind", &["idmap".to_owned()]).is_err());
        assert!(propagation("sideways").is_err());
        assert_eq!(propagation("").expect("none"), None);
    }
}
