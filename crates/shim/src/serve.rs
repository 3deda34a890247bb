//! `serve`: the process that stays. Takes its place in the pod (namespaces, cgroup), says so, and runs the loop.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::become_pod::enter_host_mounts;
use crate::host::{cgroup, mount, net};
use crate::identity::Identity;
use crate::log::Log;
use crate::pod::{Role, Spec, pod_dir, socket_path};
use crate::publisher::Publisher;
use crate::reactor::Reactor;
use crate::relay::Relay;
use crate::shim::{Parts, Shim};
use crate::signals::Signals;
use crate::start::{LISTENER_FD, LOCK_FD, READY, READY_FD};

/// The pod dies with its shim: the kernel should look elsewhere first.
const OOM_SCORE_ADJ: &str = "-998";
const MAX_OPEN_FILES: libc::rlim_t = 65_536;
/// Where `delete` finds what to clean when the shim is gone.
pub const CGROUPS_FILE: &str = "cgroups";

pub fn serve(args: &Args) -> io::Result<()> {
    // SAFETY: start hands these three over; nothing else in this process owns them.
    let [listener, lock, ready] =
        unsafe { [LISTENER_FD, LOCK_FD, READY_FD].map(|fd| OwnedFd::from_raw_fd(fd)) };
    for fd in [&listener, &lock, &ready] {
        close_on_exec(fd)?;
    }
    let mut ready = fs::File::from(ready);
    let pod = match args.dir.as_str() {
        "" => pod_dir(Path::new(&args.state), &args.namespace, &args.id),
        dir => PathBuf::from(dir),
    };
    let mut log = Log::open(&pod.join("shim.log"));
    let parts = match take_place(args, &pod, UnixListener::from(listener)) {
        Ok(parts) => parts,
        Err(error) => {
            log.line(&format!("start failed: {error}"));
            return ready.write_all(error.to_string().as_bytes());
        }
    };
    let mut shim = Shim::new(parts, log);
    // A start that containerd has given up meanwhile leaves nothing behind.
    let wanted = ready.write_all(READY);
    drop(ready);
    if wanted.is_ok() {
        shim.log
            .line(&format!("serving pod {} in {}", args.id, pod.display()));
        shim.run();
    }
    // A spare's directory may have been renamed since.
    let pod = std::env::current_dir().unwrap_or(pod);
    leave(&mut shim, &pod);
    drop(lock);
    wanted
}

fn take_place(args: &Args, pod: &Path, listener: UnixListener) -> io::Result<Parts> {
    let podless = !args.dir.is_empty();
    let spec = match podless {
        true => Spec::default(),
        false => Spec::read(Path::new(&args.bundle))?,
    };
    if podless {
        enter_host_mounts()?;
    }
    std::env::set_current_dir(pod)?;
    if spec.netns.is_empty() {
        net::create_own()?;
    } else {
        net::enter(Path::new(&spec.netns))?;
    }
    own_namespaces()?;
    let mut cgroups = Vec::new();
    enter_cgroups(pod, &spec.cgroups_path, &mut cgroups)?;
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    raise_open_files();
    // Lowering it needs CAP_SYS_RESOURCE, which not every host gives.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);

    let socket = socket_path(pod);
    let ttrpc = std::env::var("TTRPC_ADDRESS").unwrap_or_default();
    Ok(Parts {
        reactor: Reactor::new()?,
        listener,
        signals: Signals::hold()?,
        relay: Relay::new(Path::new(&args.state), &args.namespace, &args.id, &socket),
        publisher: Publisher::new(&ttrpc, &args.namespace),
        identity: Identity {
            namespace: args.namespace.clone(),
            sandbox_id: args.id.clone(),
            runtime: args.runtime.clone(),
            bundle: args.bundle.clone(),
            netns: spec.netns,
            pod_dir: pod.to_owned(),
            cgroups,
            has_sandbox_task: spec.role == Role::Sandbox,
            pid: std::process::id(),
            podless,
        },
    })
}

/// Every exec takes up to three descriptors, every connection one. Children get a limit of their own.
fn raise_open_files() {
    let mut files = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure outlives both calls. Without the raise there is what there was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files) == 0 {
            files.rlim_cur = files.rlim_max.min(MAX_OPEN_FILES);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        }
    }
}

/// containerd puts /proc/<this pid>/ns/{ipc,uts} into every container's spec: they must not be the host's.
fn own_namespaces() -> io::Result<()> {
    // SAFETY: takes no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) } != 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(
            error.kind(),
            format!("unshare IPC and UTS: {error}"),
        ));
    }
    Ok(())
}

fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: takes no pointers.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Moves this process into the pod's groups, whose directories are `dirs` from then on. They are noted there and
/// written down before one is made: who ends this process, or finds it dead, knows what it may have left.
pub fn enter_cgroups(pod: &Path, cgroups_path: &str, dirs: &mut Vec<PathBuf>) -> io::Result<()> {
    if cgroups_path.is_empty() {
        return Ok(());
    }
    let groups = cgroup::find(cgroups_path)?;
    *dirs = groups.dirs();
    let lines: String = dirs
        .iter()
        .map(|dir| format!("{}\n", dir.display()))
        .collect();
    fs::write(pod.join(CGROUPS_FILE), lines)?;
    groups.join()
}

/// The pod is over: nothing of it stays, but for a group that cannot be removed, which `delete` tries again.
fn leave(shim: &mut Shim, pod: &Path) {
    shim.kill_children();
    for target in &shim.keeper.mounted {
        let _ = mount::unmount_all(&pod.join(target));
    }
    let cgroups = &shim.identity.cgroups;
    for dir in cgroups {
        move_out_of(dir);
    }
    match cgroup::kill_all(cgroups).and_then(|()| cgroup::remove(cgroups)) {
        Ok(()) => drop(mount::remove_tree(pod)),
        Err(error) => {
            shim.log.line(&format!("control groups stay: {error}"));
            let _ = fs::remove_file(socket_path(pod));
        }
    }
}

/// A group cannot be removed from inside. On v2 only the root takes processes beside groups.
fn move_out_of(dir: &Path) {
    for ancestor in dir.ancestors().skip(1) {
        let processes = ancestor.join("cgroup.procs");
        if !processes.exists() || fs::write(processes, "0").is_ok() {
            return;
        }
    }
}
