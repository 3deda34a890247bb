//! `delete`: runs after every task's end, and after a crash of the shim. Repeatable, quick, and for a container
//! only about that container.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trine_wire::{Message, task};

use crate::args::Args;
use crate::host::{cgroup, mount};
use crate::nested_ends;
use crate::pod::{Role, Spec, lock_path, pod_dir, state_dir, valid_id};
use crate::process::now_stamp;
use crate::serve::CGROUPS_FILE;
use crate::start::try_lock;

const SHIM_LIMIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);
const KILLED: u32 = 137;

pub fn delete(args: &Args) -> io::Result<()> {
    let bundle = match args.bundle.as_str() {
        "" => std::env::current_dir()?,
        path => PathBuf::from(path),
    };
    // containerd calls once and keeps the bundle for ever when this fails: it is told that all is well, and
    // what is left keeps its directory, with which trined goes on.
    if let Err(error) = clear(args, &bundle) {
        eprintln!("delete {}: {error}", args.id);
    }
    match clear_nested(args, &bundle) {
        Ok(None) => {}
        Ok(Some(answer)) => return io::stdout().write_all(&answer),
        Err(error) => eprintln!("delete {}: {error}", args.id),
    }
    let response = task::DeleteResponse {
        pid: std::process::id(),
        exit_status: KILLED,
        exited_at: Some(now_stamp()),
    };
    io::stdout().write_all(&response.encode_to_vec())
}

fn clear(args: &Args, bundle: &Path) -> io::Result<()> {
    let rootfs = bundle.join("rootfs");
    let unmounted = match rootfs.exists() {
        true => mount::unmount_all(&rootfs),
        false => Ok(()),
    };
    // A bundle without a spec is half made; only a pod's own id can have a pod directory.
    let role = Spec::read(bundle).map_or(Role::Sandbox, |spec| spec.role);
    if !matches!(role, Role::ContainerOf(_)) && valid_id(&args.id) {
        clear_pod(&pod_of(args, bundle))?;
    }
    unmounted
}

/// A container that a nested shim had: cleared as that one does it, which also unmounts its root.
fn clear_nested(args: &Args, bundle: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(program) = nested_ends::program_of(bundle)? else {
        return Ok(None);
    };
    nested_ends::delete_nested(&program, &args.namespace, &args.id, bundle).map(Some)
}

/// The address file knows the state directory; `delete` gets no options.
fn pod_of(args: &Args, bundle: &Path) -> PathBuf {
    let computed = |state: &Path| pod_dir(state, &args.namespace, &args.id);
    let named = fs::read_to_string(bundle.join("address"))
        .ok()
        .and_then(|address| {
            let socket = PathBuf::from(address.trim().strip_prefix("unix://")?);
            let pod = socket.parent()?;
            let state = pod.parent()?.parent()?;
            (computed(state) == pod).then(|| pod.to_owned())
        });
    named.unwrap_or_else(|| computed(&state_dir("")))
}

fn clear_pod(pod: &Path) -> io::Result<()> {
    if !pod.exists() {
        return Ok(());
    }
    let deadline = Instant::now() + SHIM_LIMIT;
    // A shim that was told to shut down is given the time to; its lock is then free.
    let mut lock = try_lock(pod)?;
    while lock.is_none() && Instant::now() < deadline {
        std::thread::sleep(POLL);
        lock = try_lock(pod)?;
    }
    if lock.is_none() {
        kill_shim(pod);
    }
    clear_dead(pod)
}

/// Ends a shim that is of no use to its pod, at once, and takes away what it leaves.
pub fn end_pod(pod: &Path) -> io::Result<()> {
    kill_shim(pod);
    // One that was just leaving by itself removes its lock first; its directory then goes by its own hand.
    let deadline = Instant::now() + SHIM_LIMIT / 2;
    while pod.exists() && !lock_path(pod).exists() && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
    clear_dead(pod)
}

fn clear_dead(pod: &Path) -> io::Result<()> {
    let cgroups = fs::read_to_string(pod.join(CGROUPS_FILE)).unwrap_or_default();
    let cgroups: Vec<PathBuf> = cgroups.lines().map(PathBuf::from).collect();
    // The directory goes last: as long as a group stays it says which, and trined goes on with it.
    cgroup::kill_all(&cgroups)?;
    cgroup::remove(&cgroups)?;
    mount::remove_tree(pod)
}

/// While the lock is held the pid in it is the shim's and no other process's.
fn kill_shim(pod: &Path) {
    if !matches!(try_lock(pod), Ok(None)) {
        return;
    }
    let pid = fs::read_to_string(lock_path(pod))
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok());
    // A spare's may be that of another PID namespace, and here some stranger's: a shim is in its pod's directory.
    let is_there = |pid: &i32| {
        let there = fs::read_link(format!("/proc/{pid}/cwd"));
        let exe = fs::read_link(format!("/proc/{pid}/exe"));
        let is_ours = |exe: PathBuf| exe.to_string_lossy().contains("containerd-shim-trine");
        there.is_ok_and(|dir| fs::canonicalize(pod).is_ok_and(|pod| pod == dir))
            || exe.is_ok_and(is_ours)
    };
    if let Some(pid) = pid.filter(|pid| *pid > 1 && is_there(pid)) {
        // SAFETY: takes no pointers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    let deadline = Instant::now() + SHIM_LIMIT / 2;
    while try_lock(pod).is_ok_and(|lock| lock.is_none()) && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
}
