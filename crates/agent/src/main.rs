//! trine-agent: runs a pod's containers inside its virtual machine, told by the host over one byte stream.
//!
//! As PID 1 it sets the guest up first and finds the stream at a virtio port. Otherwise:
//! `trine-agent [--machine [--shares FILE] [--ports LIST]] [--port NAME | --socket PATH] [--cgroup DIR]`, or `trine-agent --version`.
//! With `--machine` it serves a guest that has a system of its own, mounts the volumes that FILE lists, and has the ports of LIST at
//! the guest's localhost. A microVM's kernel starts it as well, in modprobe's place.

mod agent;
mod answer;
mod boot;
mod calls;
mod container;
mod disk_mounts;
mod disks;
mod events;
mod file_systems;
mod freeze;
mod gather;
mod helper;
mod identity;
mod info;
mod lifecycle;
mod link;
mod local_ports;
mod machine;
mod modules;
mod mounts;
mod net;
mod online;
mod pause;
mod pod_pids;
mod process;
mod pump;
mod reactor;
mod relay;
mod release;
mod rpc;
mod shares;
mod signals;
mod sockets;
mod stats;
mod stdio;
mod streams;
mod sys;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::Agent;
use shares::Shares;

/// A port's driver answers the host in a worker of the kernel: it is there soon after its module.
const PORT_PAUSE: Duration = Duration::from_millis(2);
/// A machine's kernel may load that module late, or never.
const LATE_PORT_PAUSE: Duration = Duration::from_millis(500);

/// Builders of guest images look for it in the program's bytes.
const IDENTITY: &str = concat!("trine-agent/", env!("CARGO_PKG_VERSION"));

struct Options {
    port: String,
    socket: Option<PathBuf>,
    cgroup: Option<String>,
    shares: Option<String>,
    ports: Vec<u16>,
    is_machine: bool,
}

fn main() -> ExitCode {
    if std::process::id() == 1 {
        if let Err(error) = serve_as_init() {
            eprintln!("trine-agent: {error}");
        }
        boot::power_off();
        return ExitCode::FAILURE;
    }
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("{IDENTITY}");
        return ExitCode::SUCCESS;
    }
    if let Some(name) = modules::asked_for(std::env::args().skip(1)) {
        return modules::load_on_demand(&name);
    }
    match options().and_then(|options| serve(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trine-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_as_init() -> io::Result<()> {
    boot::prepare()?;
    let name = boot::port_name();
    protect();
    Agent::new(wait_for_port(&name, PORT_PAUSE)?, "/sys/fs/cgroup", true)?.run()
}

fn serve(options: &Options) -> io::Result<()> {
    let port = match &options.socket {
        Some(path) => link::open_socket(path).map_err(sys::during(path.display()))?,
        // Its driver may come after what starts us.
        None if options.is_machine => wait_for_port(&options.port, LATE_PORT_PAUSE)?,
        None => link::open_port(&options.port)?,
    };
    protect();
    let cgroup = match &options.cgroup {
        Some(dir) => dir.clone(),
        None if options.is_machine => machine::own_group()?,
        None => "/sys/fs/cgroup".to_owned(),
    };
    // A virtio port that has no host for a while gets one again.
    let stays = options.is_machine && options.socket.is_none();
    let mut agent = Agent::new(port, &cgroup, stays)?;
    if options.is_machine {
        machine::adopt(&mut agent)?;
        agent.shares = options
            .shares
            .as_deref()
            .map(Shares::listed_in)
            .transpose()?;
        agent.add_local_ports(&options.ports);
    }
    agent.run()
}

fn wait_for_port(name: &str, pause: Duration) -> io::Result<OwnedFd> {
    loop {
        match link::open_port(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::thread::sleep(pause),
            other => return other,
        }
    }
}

/// Children inherit this until they execute: a container they join cannot look into them.
fn protect() {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

fn options() -> io::Result<Options> {
    let mut options = Options {
        port: "trine.agent".to_owned(),
        socket: None,
        cgroup: None,
        shares: None,
        ports: Vec::new(),
        is_machine: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--machine" {
            options.is_machine = true;
            continue;
        }
        let value = arguments.next();
        match (argument.as_str(), value) {
            ("--port", Some(name)) => options.port = name,
            ("--socket", Some(path)) => options.socket = Some(path.into()),
            ("--cgroup", Some(dir)) => options.cgroup = Some(dir),
            ("--shares", Some(list)) => options.shares = Some(list),
            ("--ports", Some(list)) => options.ports = local_ports::parse(&list)?,
            (other, _) => {
                return Err(sys::invalid(format!(
                    "{other:?} is no option, or lacks its value"
                )));
            }
        }
    }
    Ok(options)
}
