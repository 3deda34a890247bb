//! How the nested shim is started, and what its Create says of runc.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;
use std::time::Instant;

use trine_wire::shim::descriptor::Source;
use trine_wire::{Any, Message, shim};

use crate::answer::{Code, Failure, failure};
use crate::client::Client;
use crate::nested::{NESTED_KEY, Nested};
use crate::reactor::Token;
use crate::shim::Shim;

const DIR: &str = "nested";
const LISTEN_FD: u32 = 3;
/// As containerd's unit sets it; containers inherit it.
const MAX_OPEN_FILES: u64 = 1 << 20;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const OOM_SCORE_ADJ: i32 = -998;

impl Shim {
    /// The nested shim runs; one that has ended is replaced.
    pub fn ensure_nested(&mut self, request: &shim::NestRequest) -> Result<u32, Failure> {
        if let Some(nested) = &self.nested {
            return Ok(nested.number());
        }
        self.reap(NESTED_KEY)?;
        let dir = std::env::current_dir()?.join(DIR);
        make_dir(&dir)?;
        let socket = dir.join("shim.sock");
        let mut argv = vec![request.program.clone()];
        let id = self.identity.sandbox_id.clone();
        let namespace = self.identity.namespace.clone();
        for (flag, value) in [
            ("-namespace", namespace.clone()),
            ("-id", id),
            ("-address", request.containerd.clone()),
        ] {
            argv.extend([flag.to_owned(), value]);
        }
        let mut env = vec![
            PATH.to_owned(),
            format!("NAMESPACE={namespace}"),
            "GOMAXPROCS=2".to_owned(),
        ];
        // Its events go straight to containerd.
        if let Ok(address) = std::env::var("TTRPC_ADDRESS") {
            env.push(format!("TTRPC_ADDRESS={address}"));
        }
        let path = socket.to_string_lossy().into_owned();
        self.spawn(shim::SpawnRequest {
            key: NESTED_KEY.to_owned(),
            argv,
            env,
            descriptors: vec![shim::Descriptor {
                number: LISTEN_FD,
                source: Some(Source::Listen(shim::Listen {
                    path,
                    mode: 0o600,
                    serves: String::new(),
                })),
                ..Default::default()
            }],
            log_path: request.log_path.clone(),
            oom_score_adj: OOM_SCORE_ADJ,
            max_open_files: MAX_OPEN_FILES,
            keep_capabilities: true,
            working_dir: dir.to_string_lossy().into_owned(),
            ..shim::SpawnRequest::default()
        })?;
        let mut client = Client::new(self.identity.held(&socket), Token::Nested);
        if !client.connect(&self.reactor, true, Instant::now()) {
            return Err(failure(Code::Unavailable, "the nested shim's socket"));
        }
        let number = self.number();
        self.nested = Some(Nested::new(number, client));
        Ok(number)
    }
}

/// The nested shim's own directory. It logs into `log`, which it opens by that name: its own standard error.
fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).recursive(true).create(dir)?;
    match symlink("/proc/self/fd/2", dir.join("log")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A field that comes again replaces what came before, and one message within another is merged with it field by
/// field (protobuf encoding, "Last One Wins"): so the rest of the Create stays as it came, byte for byte.
pub fn append_options(create: &mut Vec<u8>, value: Vec<u8>) {
    const OPTIONS: u8 = 10 << 3 | 2;
    const VALUE: [u8; 2] = [2 << 3 | 2, 0];
    let any = Any {
        type_url: "containerd.runc.v1.Options".to_owned(),
        value,
    };
    let mut body = any.encode_to_vec();
    if any.value.is_empty() {
        // Left out it would replace nothing.
        body.extend(VALUE);
    }
    create.push(OPTIONS);
    create.extend(length_prefix(body.len()));
    create.extend(body);
}

fn length_prefix(length: usize) -> Vec<u8> {
    let mut rest = length;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_wire::task;

    #[test]
    fn options_are_replaced_and_the_rest_stays() {
        for value in [vec![0x48, 1], Vec::new(), vec![0; 300]] {
            let create = task::CreateTaskRequest {
                id: "c1".to_owned(),
                bundle: "/b".to_owned(),
                options: Some(Any {
                    type_url: "runtimeoptions.v1.Options".to_owned(),
                    value: b"\x0a\x03abc".to_vec(),
                }),
                ..Default::default()
            };
            let mut bytes = create.encode_to_vec();
            let before = bytes.clone();
            append_options(&mut bytes, value.clone());
            assert!(bytes.starts_with(&before));
            let read = task::CreateTaskRequest::decode(bytes.as_slice()).expect("sound");
            let options = read.options.expect("options");
            assert_eq!(options.type_url, "containerd.runc.v1.Options");
            assert_eq!(options.value, value);
            assert_eq!((read.id.as_str(), read.bundle.as_str()), ("c1", "/b"));
        }
    }
}
