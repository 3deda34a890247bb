//! `start`: finds or makes the pod's shim and prints its address. Whatever goes to stdout or stderr is the
//! answer containerd parses, so there is nothing else in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use trine_wire::bootstrap::{BootstrapParams, RuntimeOptions};
use trine_wire::{Any, Message};

use crate::args::Args;
use crate::host::mount;
use crate::host::sys::listen_at;
use crate::log::Log;
use crate::pod::{Role, Spec, lock_path, pod_dir, socket_path, state_dir, valid_id};
use crate::spare::{self, Claimed};

const MAX_STDIN: u64 = 4 << 20;
/// Descriptors of `serve`.
pub const LISTENER_FD: RawFd = 3;
pub const LOCK_FD: RawFd = 4;
pub const READY_FD: RawFd = 5;
/// serve's word that it is in place.
pub const READY: &[u8] = b"ready";

pub fn start(args: &Args) -> io::Result<()> {
    let bundle = std::env::current_dir()?;
    if !valid_id(&args.id) || args.namespace.is_empty() {
        return Err(invalid("start needs -namespace and a plain -id"));
    }
    let asked = Asked::read(&args.id)?;
    let state = state_dir(&asked.config_path);
    let spec = Spec::read(&bundle)?;
    let sandbox_id = match &spec.role {
        Role::ContainerOf(id) => id.as_str(),
        Role::Sandbox | Role::Alone => args.id.as_str(),
    };
    let pod = pod_dir(&state, &args.namespace, sandbox_id);
    let address = format!("unix://{}", socket_path(&pod).display());
    if matches!(spec.role, Role::ContainerOf(_)) {
        if try_lock(&pod)?.is_some() {
            return Err(invalid(format!(
                "sandbox {sandbox_id} has no shim (no lock on {})",
                pod.display()
            )));
        }
    } else {
        make_pod(args, &state, &pod, &bundle)?;
        // For trined: which containerd to ask for images, and what its containers' processes begin with. The
        // shim's own limits are another's where it was a spare.
        write_atomically(&pod.join("containerd"), args.address.as_bytes())?;
        write_atomically(&pod.join("limits"), &fs::read("/proc/self/limits")?)?;
    }
    write_atomically(&bundle.join("address"), address.as_bytes())?;
    let line = match asked.bootstrap {
        true => format!(
            "{{\"version\":3,\"address\":{},\"protocol\":\"ttrpc\"}}",
            quoted(&address)
        ),
        false => address,
    };
    io::stdout().write_all(line.as_bytes())
}

/// `make`: a shim without a pod in the directory `-dir`, for trined, which ends it (End). Prints its address;
/// one that is there already is found.
pub fn make(args: &Args) -> io::Result<()> {
    let (state, dir) = (Path::new(&args.state), Path::new(&args.dir));
    if !valid_id(&args.id)
        || args.namespace.is_empty()
        || !state.is_absolute()
        || !dir.is_absolute()
    {
        return Err(invalid(
            "make needs -namespace, a plain -id, -state and -dir",
        ));
    }
    if try_lock(dir)?.is_some() {
        make_shim(args, state, dir, Path::new(""))?;
    }
    let address = format!("unix://{}", socket_path(dir).display());
    io::stdout().write_all(address.as_bytes())
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, message.into())
}

/// The state directory's path may hold a quote.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What came on stdin.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    /// containerd 2.x: it wants the protocol's version in the answer.
    bootstrap: bool,
    config_path: String,
}

impl Asked {
    fn read(id: &str) -> io::Result<Asked> {
        let mut bytes = Vec::new();
        io::stdin().take(MAX_STDIN).read_to_end(&mut bytes)?;
        Ok(Asked::parse(&bytes, id))
    }

    /// BootstrapParams and Any both begin with two strings: the former's first is the id.
    fn parse(bytes: &[u8], id: &str) -> Asked {
        match BootstrapParams::decode(bytes) {
            Ok(params) if params.instance_id == id && !bytes.is_empty() => Asked {
                bootstrap: true,
                config_path: params
                    .extensions
                    .into_iter()
                    .filter_map(|extension| config_path(&extension.value?))
                    .next()
                    .unwrap_or_default(),
            },
            _ => Asked {
                bootstrap: false,
                config_path: Any::decode(bytes)
                    .ok()
                    .and_then(|any| config_path(&any))
                    .unwrap_or_default(),
            },
        }
    }
}

fn config_path(any: &Any) -> Option<String> {
    if !any.type_url.ends_with("runtimeoptions.v1.Options") {
        return None;
    }
    RuntimeOptions::decode(any.value.as_slice())
        .ok()
        .map(|options| options.config_path)
}

/// Takes the pod's lock. `None`: its shim lives. A directory that is not there has no shim.
pub fn try_lock(pod: &Path) -> io::Result<Option<Option<File>>> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW);
    let file = match options.open(lock_path(pod)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(None)),
        other => other?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(Some(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The pod's shim: a spare where one fits, else one of its own.
fn make_pod(args: &Args, state: &Path, pod: &Path, bundle: &Path) -> io::Result<()> {
    let Claimed::No(why) = spare::claim(args, state, pod, bundle)? else {
        return Ok(());
    };
    make_shim(args, state, pod, bundle)?;
    if !why.is_empty() {
        Log::open(&pod.join("shim.log")).line(&why);
    }
    Ok(())
}

/// A pod directory of its own with everything `serve` needs, then `serve` itself.
fn make_shim(args: &Args, state: &Path, pod: &Path, bundle: &Path) -> io::Result<()> {
    let lock = claim(pod)?;
    let started = launch(lock, args, state, pod, bundle);
    if started.is_err() {
        let _ = mount::remove_tree(pod);
    }
    started
}

/// Others wait until this is dropped: the pod has no shim, and what a dead one left, which must not be taken
/// for the next one's, is gone.
pub fn take_turn(pod: &Path) -> io::Result<File> {
    let pods = pod.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true).create(pods)?;
    let turn = File::open(pods)?;
    turn.lock()?;
    if try_lock(pod)?.is_none() {
        return Err(invalid(format!("pod {} has a shim already", pod.display())));
    }
    mount::remove_tree(pod)?;
    Ok(turn)
}

/// An empty pod directory and its lock. One start at a time does this: of two for the same pod the second
/// finds the first one's lock, and takes nothing of it away.
fn claim(pod: &Path) -> io::Result<File> {
    let _turn = take_turn(pod)?;
    DirBuilder::new().mode(0o700).create(pod)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let lock = options.open(lock_path(pod))?;
    lock.lock()?;
    Ok(lock)
}

fn launch(mut lock: File, args: &Args, state: &Path, pod: &Path, bundle: &Path) -> io::Result<()> {
    let listener = listen_at(&socket_path(pod), 0o600)?;
    listener.set_nonblocking(true)?;
    let (mut ready, ready_writer) = io::pipe()?;

    let handed: [OwnedFd; 3] = [
        listener.into(),
        lock.try_clone()?.into(),
        ready_writer.into(),
    ];
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(&args.runtime)
        .args(["-namespace", &args.namespace, "-id", &args.id])
        .args([
            "-state".as_ref(),
            state.as_os_str(),
            "-bundle".as_ref(),
            bundle.as_os_str(),
        ])
        .args(match args.dir.as_str() {
            "" => Vec::new(),
            dir => vec!["-dir", dir],
        })
        .arg("serve")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let numbers = handed.each_ref().map(AsRawFd::as_raw_fd);
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(move || hand_over(numbers)) };
    let child = command.spawn()?;
    drop(handed);
    lock.write_all(child.id().to_string().as_bytes())?;

    let mut word = Vec::new();
    ready.read_to_end(&mut word)?;
    if word == READY {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "shim did not start: {}",
        String::from_utf8_lossy(&word)
    )))
}

/// In the child: a session of its own, the three descriptors at their numbers, no other one after exec.
fn hand_over(numbers: [RawFd; 3]) -> io::Result<()> {
    // SAFETY: takes no pointers.
    unsafe { libc::setsid() };
    // First above the three numbers, wherever there is room: containerd may have left many open.
    let mut moved = numbers;
    for fd in &mut moved {
        // SAFETY: takes no pointers.
        *fd = unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, READY_FD + 1) };
        if *fd < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // containerd's own descriptors leak into its children; std's error pipe must live until exec.
    // SAFETY: takes no pointers.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if marked != 0 {
        return Err(io::Error::last_os_error());
    }
    for (from, to) in moved.into_iter().zip([LISTENER_FD, LOCK_FD, READY_FD]) {
        // SAFETY: takes no pointers.
        if unsafe { libc::dup2(from, to) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = PathBuf::from(path).into_os_string();
    temporary.push(".tmp");
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_wire::bootstrap::Extension;

    fn options(path: &str) -> Any {
        let options = RuntimeOptions {
            type_url: "io.containerd.trine.options".into(),
            config_path: path.into(),
        };
        Any {
            type_url: "runtimeoptions.v1.Options".into(),
            value: options.encode_to_vec(),
        }
    }

    #[test]
    fn tells_bootstrap_parameters_from_options_and_from_nothing() {
        assert_eq!(Asked::parse(b"", "abc"), Asked::default());
        assert_eq!(Asked::parse(b"\xff\xff\xff", "abc"), Asked::default());
        let old = Asked::parse(&options("/run/t").encode_to_vec(), "abc");
        assert_eq!((old.bootstrap, old.config_path.as_str()), (false, "/run/t"));
        let params = BootstrapParams {
            instance_id: "abc".into(),
            namespace: "k8s.io".into(),
            extensions: vec![
                Extension { value: None },
                Extension {
                    value: Some(options("/run/u")),
                },
            ],
            ..BootstrapParams::default()
        };
        let new = Asked::parse(&params.encode_to_vec(), "abc");
        assert_eq!((new.bootstrap, new.config_path.as_str()), (true, "/run/u"));
    }

    #[test]
    fn options_of_other_runtimes_are_not_ours() {
        let runc = Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: options("/x").value,
        };
        assert_eq!(Asked::parse(&runc.encode_to_vec(), "abc"), Asked::default());
    }
}
