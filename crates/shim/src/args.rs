//! The command line as containerd and CRI-O give it: Go style flags, then the action.

use std::ffi::OsString;
use std::path::Path;

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Args {
    /// File name the shim was started as, e.g. containerd-shim-trine-vm-v2.
    pub runtime: String,
    pub namespace: String,
    /// Socket of the containerd that calls.
    pub address: String,
    pub id: String,
    pub bundle: String,
    pub info: bool,
    pub version: bool,
    /// start, make, delete or serve; empty with -info and -v.
    pub action: String,
    /// Only for make and serve: the state directory.
    pub state: String,
    /// Only for make, and for serve of what it makes: the shim's own directory.
    pub dir: String,
}

/// Flags that stand alone; every other one has a value.
const SWITCHES: [&str; 3] = ["debug", "v", "info"];

impl Args {
    /// Unknown flags are passed over with their values: newer containerds may add some.
    pub fn parse(argv: impl Iterator<Item = OsString>) -> Args {
        let mut words = argv.map(|word| word.to_string_lossy().into_owned());
        let program = words.next().unwrap_or_default();
        let name = Path::new(&program)
            .file_name()
            .map(|n| n.to_string_lossy().into_owned());
        let mut args = Args {
            runtime: name.unwrap_or_default(),
            ..Args::default()
        };
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                args.action = word;
                continue;
            };
            if let Some((name, value)) = flag.split_once('=') {
                args.set(name, value.to_owned());
            } else if SWITCHES.contains(&flag) {
                args.set(flag, "true".to_owned());
            } else {
                let value = words.next().unwrap_or_default();
                args.set(flag, value);
            }
        }
        args
    }

    fn set(&mut self, name: &str, value: String) {
        match name {
            "namespace" => self.namespace = value,
            "address" => self.address = value,
            "id" => self.id = value,
            "bundle" => self.bundle = value,
            "state" => self.state = value,
            "dir" => self.dir = value,
            "info" => self.info = value != "false",
            "v" => self.version = value != "false",
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Args {
        Args::parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn reads_start_and_delete_as_containerd_calls_them() {
        let start = parse(
            "/usr/bin/containerd-shim-trine-vm-v2 -namespace k8s.io -address /run/c.sock \
             -publish-binary /usr/bin/containerd -id abc -debug start",
        );
        assert_eq!(start.runtime, "containerd-shim-trine-vm-v2");
        assert_eq!(
            (start.namespace.as_str(), start.id.as_str()),
            ("k8s.io", "abc")
        );
        assert_eq!(start.action, "start");
        assert_eq!(start.address, "/run/c.sock");
        let delete = parse("shim -namespace ns -id=abc --bundle /b -future x delete");
        assert_eq!(
            (delete.bundle.as_str(), delete.action.as_str()),
            ("/b", "delete")
        );
        assert_eq!(delete.id, "abc");
    }

    #[test]
    fn info_needs_no_action() {
        assert!(parse("shim -info").info);
        assert!(parse("shim -v").version);
        assert_eq!(parse("shim -id").id, "");
    }
}
