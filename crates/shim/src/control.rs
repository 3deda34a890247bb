//! trine.shim.v1: what trined asks of the shim. Calls that wait are in `waiting`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use trine_wire::{Message, shim, task};

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::host::move_link::Moving;
use crate::host::{bind, device, macvtap, mount, net};
use crate::netserve::NetServers;
use crate::process::now_stamp;
use crate::server::Call;
use crate::shim::Shim;

const PROTOCOL: u32 = 1;
/// Fields of requests that an older shim would pass over without a word, where that must not be.
const FEATURES: [&str; 4] = ["read-only-below", "tap-queues", "macvtap", "guest-ports"];
const MAX_STATE: usize = 1 << 20;
const MAX_TAPS: usize = 64;
const MAX_QUEUES: u32 = 16;

/// What the shim keeps for trined.
#[derive(Default)]
pub struct Keeper {
    state: Vec<u8>,
    revision: u64,
    /// A descriptor for each of their queues.
    pub taps: BTreeMap<String, Vec<OwnedFd>>,
    /// The taps are still on their way into the pod's network.
    pub moving: Option<Moving>,
    pub net: NetServers,
    /// Relative to the pod's directory where they are below it.
    pub mounted: BTreeSet<PathBuf>,
    /// By the place of its node: what keeps others from writing a device.
    pub claims: BTreeMap<PathBuf, OwnedFd>,
    pub memories: BTreeMap<String, File>,
}

fn done() -> Answer {
    Ok(empty())
}

impl Shim {
    pub fn control_call(&mut self, call: Call, method: &str, payload: &[u8]) {
        let answer = match method {
            "Describe" => Ok(self.describe().encode_to_vec()),
            "PutState" => self.put_state(payload),
            "Mount" => self.mount(payload),
            "Unmount" => self.unmount(payload),
            "OpenTap" => self.open_tap(payload),
            "ServeDhcp" => self.serve_dhcp(payload),
            "ServeDhcp6" => self.serve_dhcp6(payload),
            "ServeForward" => self.serve_forward(payload),
            "Spawn" => decode(payload).and_then(|r| Ok(self.spawn(r)?.encode_to_vec())),
            "Signal" => self.signal(payload),
            "Reap" => decode(payload).and_then(|r: shim::ReapRequest| {
                self.reap(&r.key)?;
                done()
            }),
            "PinThreads" => self.pin_threads(payload),
            "SetProcess" => self.set_process(payload),
            "Nest" => self.nest(payload),
            "AttachGuest" => self.attach_guest(payload),
            "SealMemory" => self.seal_memory(payload),
            "End" => self.end(),
            "Claim" => self.claim(payload),
            "Run" => match decode(payload) {
                Ok(request) => return self.run_program(call, request),
                Err(failure) => Err(failure),
            },
            "Events" | "ReadChannel" | "WriteChannel" | "WriteStdio" => {
                return self.waiting_call(call, method, payload);
            }
            other => Err(failure(Code::Unimplemented, format!("shim call {other}"))),
        };
        self.reply(call, answer);
    }

    fn describe(&self) -> shim::DescribeResponse {
        let identity = &self.identity;
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let alive = self.processes.values().filter(|p| !p.deleted);
        shim::DescribeResponse {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            namespace: identity.namespace.clone(),
            sandbox_id: identity.sandbox_id.clone(),
            runtime: identity.runtime.clone(),
            bundle: identity.bundle.clone(),
            netns: identity.netns.clone(),
            pod_dir: path(&identity.pod_dir),
            pid: identity.pid,
            state: self.keeper.state.clone(),
            state_revision: self.keeper.revision,
            processes: alive.map(|p| p.describe()).collect(),
            children: self
                .children
                .iter()
                .map(|(key, child)| child.describe(key))
                .collect(),
            taps: self.keeper.taps.keys().cloned().collect(),
            last_event: self.notes.last(),
            cgroups: identity.cgroups.iter().map(|p| path(p)).collect(),
            features: FEATURES.map(str::to_owned).to_vec(),
        }
    }

    fn put_state(&mut self, payload: &[u8]) -> Answer {
        let request: shim::PutStateRequest = decode(payload)?;
        if request.state.len() > MAX_STATE {
            return Err(failure(
                Code::ResourceExhausted,
                "the state document is over 1 MiB",
            ));
        }
        if request.revision < self.keeper.revision {
            let held = self.keeper.revision;
            let message = format!("state revision {} is older than {held}", request.revision);
            return Err(failure(Code::FailedPrecondition, message));
        }
        self.keeper.state = request.state;
        self.keeper.revision = request.revision;
        done()
    }

    /// A repeated request finds the target mounted by the earlier one.
    fn mount(&mut self, payload: &[u8]) -> Answer {
        let request: shim::MountRequest = decode(payload)?;
        let target = absolute(&request.target)?;
        let held = self.identity.held(&target);
        if self.keeper.mounted.contains(&held) && mount::is_mounted(&target)? {
            return done();
        }
        let pod = self.identity.pod_dir.canonicalize()?;
        let below = target
            .strip_prefix(&pod)
            .or(target.strip_prefix(&self.identity.pod_dir));
        if request.shared || request.bind.is_some() || request.device.is_some() {
            let below = below.map_err(|_| {
                failure(
                    Code::InvalidArgument,
                    "this is done below the pod's directory only",
                )
            })?;
            match (request.bind, request.device) {
                (Some(host), _) => {
                    let how = bind::How {
                        read_only: host.read_only,
                        read_only_below: host.read_only_below,
                        follows: host.follows,
                    };
                    bind::bind(Path::new(&host.source), &pod, below, how)?;
                }
                (None, Some(wanted)) => self.make_node(&wanted, &pod, below, &held)?,
                (None, None) => bind::share(&pod, below)?,
            }
        } else {
            if let Ok(below) = below {
                bind::make_place(&pod, below, true)?;
            }
            let layers = request.mounts.into_iter().map(|m| mount::Layer {
                kind: m.r#type,
                source: m.source,
                options: m.options,
                target: m.target,
            });
            mount::mount_layers(&target, &layers.collect::<Vec<_>>())?;
        }
        self.keeper.mounted.insert(held);
        done()
    }

    fn make_node(
        &mut self,
        wanted: &shim::HostDevice,
        pod: &Path,
        below: &Path,
        held: &Path,
    ) -> Result<(), Failure> {
        let device = device::Device {
            major: wanted.major,
            minor: wanted.minor,
            read_only: wanted.read_only,
            uid: wanted.uid,
            shared: wanted.shared,
            character: wanted.character,
        };
        match device::make_node(&device, pod, below) {
            Ok(Some(claim)) => {
                self.keeper.claims.insert(held.to_owned(), claim);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                Err(failure(Code::FailedPrecondition, error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn unmount(&mut self, payload: &[u8]) -> Answer {
        let request: shim::UnmountRequest = decode(payload)?;
        let target = absolute(&request.target)?;
        mount::unmount_all(&target)?;
        let held = self.identity.held(&target);
        self.keeper.mounted.remove(&held);
        self.keeper.claims.remove(&held);
        done()
    }

    fn open_tap(&mut self, payload: &[u8]) -> Answer {
        let request: shim::OpenTapRequest = decode(payload)?;
        self.taps_have_moved()?;
        let full = self.keeper.taps.len() >= MAX_TAPS;
        let queues = request.queues.max(1);
        if queues > MAX_QUEUES {
            let message = format!("{queues} queues: at most {MAX_QUEUES}");
            return Err(failure(Code::InvalidArgument, message));
        }
        match self.keeper.taps.entry(request.name) {
            Entry::Vacant(_) if full => {
                return Err(failure(Code::ResourceExhausted, "too many taps"));
            }
            Entry::Vacant(entry) => {
                let queues = if request.macvtap {
                    macvtap::open(entry.key(), queues)?
                } else {
                    net::open_queues(entry.key(), request.mtu, queues)?
                };
                entry.insert(queues);
            }
            Entry::Occupied(entry) if entry.get().len() < queues as usize => {
                let (name, held) = (entry.key(), entry.get().len());
                let message = format!("tap {name} has {held} queues, not {queues}");
                return Err(failure(Code::FailedPrecondition, message));
            }
            Entry::Occupied(_) if request.macvtap => {}
            // It may have come here with its shim, and is down then.
            Entry::Occupied(entry) => net::set_up_tap(entry.key(), request.mtu)?,
        }
        done()
    }

    /// A pod ends as containerd wants it.
    fn end(&mut self) -> Answer {
        if !self.identity.podless {
            return Err(failure(
                Code::FailedPrecondition,
                "this shim is a pod's: it ends with its pod",
            ));
        }
        self.shutdown_asked();
        done()
    }

    fn signal(&mut self, payload: &[u8]) -> Answer {
        let request: shim::SignalRequest = decode(payload)?;
        self.signal_child(&request.key, request.signal)?;
        done()
    }

    fn set_process(&mut self, payload: &[u8]) -> Answer {
        let request: shim::SetProcessRequest = decode(payload)?;
        let number = self.find(&request.id, &request.exec_id)?;
        let status = request.status();
        let pid = if request.pid == 0 {
            self.identity.pid
        } else {
            request.pid
        };
        if status == task::Status::Stopped {
            if self.has_running_child(number) {
                let message = format!("task {} ends with its child", request.id);
                return Err(failure(Code::FailedPrecondition, message));
            }
            let at = request.exited_at.unwrap_or_else(now_stamp);
            self.end_process(number, request.exit_status, at, false);
            return done();
        }
        if let Some(process) = self.processes.get_mut(&number).filter(|p| !p.is_stopped()) {
            process.pid = pid;
            if status != task::Status::Unknown {
                process.status = status;
            }
        }
        done()
    }
}

fn absolute(path: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(failure(
        Code::InvalidArgument,
        "a mount target is an absolute path",
    ))
}
