//! The command line.

use std::io;

use trine_linux::invalid;

/// What containerd's overlayfs snapshotter, and overlayfs itself, can stack.
const MAX_LAYERS: usize = 500;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    pub mkfs: String,
    /// User and group it runs as; not root.
    pub uid: u32,
    /// Of the file it writes.
    pub max_bytes: u64,
    /// Of the file system it makes.
    pub uuid: String,
    pub work: String,
    pub out: String,
    /// Uppermost first.
    pub layers: Vec<String>,
}

impl Args {
    pub fn parse(words: impl Iterator<Item = String>) -> io::Result<Args> {
        let mut args = Args::default();
        let mut words = words.peekable();
        while let Some(word) = words.next_if(|word| word.starts_with("--")) {
            let value = words
                .next()
                .ok_or_else(|| invalid(format!("{word}: a value is missing")))?;
            match word.as_str() {
                "--mkfs" => args.mkfs = value,
                "--uid" => args.uid = number(&word, &value)?,
                "--max-bytes" => args.max_bytes = number(&word, &value)?,
                "--uuid" => args.uuid = value,
                "--work" => args.work = value,
                "--out" => args.out = value,
                _ => return Err(invalid(format!("{word} is no option"))),
            }
        }
        args.layers = words.collect();
        args.check()
    }

    fn check(self) -> io::Result<Args> {
        let all = [&self.mkfs, &self.work, &self.out].into_iter();
        if let Some(bad) = all.chain(&self.layers).find(|path| !path.starts_with('/')) {
            return Err(invalid(format!("{bad:?} is no absolute path")));
        }
        if self.uid == 0 || self.max_bytes == 0 || self.uuid.is_empty() {
            return Err(invalid(
                "--uid, --max-bytes and --uuid are needed; the user is not root",
            ));
        }
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            return Err(invalid(format!(
                "{} layers: 1 to {MAX_LAYERS}",
                self.layers.len()
            )));
        }
        Ok(self)
    }
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> io::Result<T> {
    value
        .parse()
        .map_err(|_| invalid(format!("{option} {value:?} is no number")))
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const GOOD: &str = "--mkfs /m --uid 7 --max-bytes 9 --uuid u --work /w --out /o /a/1 /a/2";

    fn parse(line: &str) -> io::Result<Args> {
        Args::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn options_come_before_layers() {
        let args = parse(GOOD).expect("good");
        assert_eq!((args.uid, args.max_bytes), (7, 9));
        assert_eq!(args.layers, ["/a/1", "/a/2"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_refused() {
        for (from, to) in [
            ("--uid 7", "--uid 0"),
            ("--uid 7", "--uid x"),
            ("--uid 7", "--user 7"),
            ("--max-bytes 9 ", ""),
            ("/a/1", "a/1"),
            (" /a/1 /a/2", ""),
            ("--out /o", "--out o"),
        ] {
            parse(&GOOD.replace(from, to)).expect_err(to);
        }
    }
}
