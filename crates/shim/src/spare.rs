//! Spares, as `start` sees them: shims that trined has made ahead of time, each with a guest that has booted
//! and no pod. One is claimed by the rename of its directory to the pod's; then it is told whose it is. Where
//! anything fails the pod's shim is made anew: no pod fails for its spare.
//!
//! `<state>/spares/<class>/class.json` says what the spares of a class are, `<class>/<n>/ready` that one may
//! be claimed, and from which namespaces.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trine_wire::frame::{self, Decoder, REQUEST, RESPONSE};
use trine_wire::{Message, shim, ttrpc};

use crate::args::Args;
use crate::delete::end_pod;
use crate::fit::Class;
use crate::host::sys::connect_unix;
use crate::pod::{Spec, socket_path};
use crate::start::{take_turn, try_lock};

const PROTOCOL: u32 = 1;
/// Moving its VMM into the pod's groups takes a busy node a while; one that is dead is noticed at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// More spares are not looked at.
const MOST: usize = 256;
const MAX_READY_BYTES: u64 = 4 << 10;
/// What a spare must have in common with who claims it: what it mounts is seen there, its process ids too.
pub const SAME_NAMESPACES: [&str; 2] = ["mnt", "pid"];

/// What became of the search for a spare.
pub enum Claimed {
    Yes,
    /// Why there is none; empty: nobody makes any.
    No(String),
}

/// Gives the pod a spare as its shim. An error: the pod has a shim already.
pub fn claim(args: &Args, state: &Path, pod: &Path, bundle: &Path) -> io::Result<Claimed> {
    let Ok(classes) = fs::read_dir(state.join("spares")) else {
        return Ok(Claimed::No(String::new()));
    };
    let spec = Spec::read(bundle)?;
    let classes = classes.flatten().map(|entry| entry.path());
    let fitting = classes.filter(|class| {
        Class::read(&class.join("class.json")).is_some_and(|c| c.fits(&args.runtime, &spec))
    });
    let fitting: Vec<PathBuf> = fitting.collect();
    if fitting.is_empty() {
        return Ok(Claimed::No("no class of spares fits the pod".to_owned()));
    }
    if !take_one(&fitting, pod, &own_namespaces()?)? {
        return Ok(Claimed::No("no spare is ready".to_owned()));
    }
    match tell(args, pod, bundle) {
        Ok(()) => Ok(Claimed::Yes),
        Err(error) => {
            let mut why = format!("the spare could not be used: {error}");
            // The directory is looked at again before a shim is started in it.
            if let Err(left) = end_pod(pod) {
                why = format!("{why}; {left}");
            }
            Ok(Claimed::No(why))
        }
    }
}

/// Renames the directory of one to the pod's. Of two that want the same one the kernel gives it to one.
fn take_one(classes: &[PathBuf], pod: &Path, own: &[String]) -> io::Result<bool> {
    let _turn = take_turn(pod)?;
    let spares = classes
        .iter()
        .filter_map(|class| fs::read_dir(class).ok())
        .flat_map(|entries| entries.flatten().take(MOST))
        .map(|entry| entry.path());
    for spare in spares.filter(|spare| may_be_claimed(spare, own)) {
        let lives = matches!(try_lock(&spare), Ok(None));
        if lives && fs::rename(&spare, pod).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One that lives elsewhere is left to whom it is for. A trined of an earlier release writes no namespaces: the
/// shim itself refuses then.
fn may_be_claimed(spare: &Path, own: &[String]) -> bool {
    let mut said = Vec::new();
    let read = File::open(spare.join("ready"))
        .and_then(|file| file.take(MAX_READY_BYTES).read_to_end(&mut said));
    let said = String::from_utf8_lossy(&said);
    read.is_ok() && (said.is_empty() || said.lines().eq(own.iter().map(String::as_str)))
}

fn tell(args: &Args, pod: &Path, bundle: &Path) -> io::Result<()> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let request = shim::ClaimRequest {
        protocol: PROTOCOL,
        namespace: args.namespace.clone(),
        sandbox_id: args.id.clone(),
        runtime: args.runtime.clone(),
        bundle: text(bundle),
        publish_address: std::env::var("TTRPC_ADDRESS").unwrap_or_default(),
        same_namespaces: own_namespaces()?,
    };
    let mut stream = connect_unix(&socket_path(pod))?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    let call = ttrpc::Request {
        service: "trine.shim.v1.Shim".to_owned(),
        method: "Claim".to_owned(),
        payload: request.encode_to_vec(),
        timeout_nano: i64::try_from(ANSWER_LIMIT.as_nanos()).unwrap_or(i64::MAX),
        metadata: Vec::new(),
    };
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, 1, REQUEST, &call.encode_to_vec())
        .map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    stream.write_all(&bytes)?;
    match answer(&mut stream)?.status {
        Some(status) if status.code != 0 => Err(io::Error::other(status.message)),
        _ => Ok(()),
    }
}

fn answer(stream: &mut UnixStream) -> io::Result<ttrpc::Response> {
    let mut decoder = Decoder::default();
    let mut part = [0; 4096];
    loop {
        let frame = decoder
            .next_frame()
            .map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        if let Some(frame) = frame.filter(|frame| frame.kind == RESPONSE) {
            return ttrpc::Response::decode(frame.body.as_slice()).map_err(io::Error::other);
        }
        match stream.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => decoder.push(part.get(..count).unwrap_or_default()),
        }
    }
}

/// As the links of /proc say them.
pub fn own_namespaces() -> io::Result<Vec<String>> {
    let links = SAME_NAMESPACES.iter().map(|name| {
        let link = fs::read_link(format!("/proc/self/ns/{name}"))?;
        Ok(link.to_string_lossy().into_owned())
    });
    links.collect()
}
