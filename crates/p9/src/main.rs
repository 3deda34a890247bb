//! trine-p9 serves directories of the host to a microVM's kernel over 9P2000.L.
//!
//! `trine-p9 --listen-fd N --root DIR [--workers N]`: N is a listening unix socket. Every connection is one
//! client, whose first message is Tversion. Tattach's aname is empty, for DIR itself, or the name of one
//! directory right below it. It runs until it is killed; its standard error says why when it ends by itself.
//!
//! The client is hostile. It gets what is below DIR and nothing else: names have one element, no symlink is
//! followed on this side, devices, FIFOs and sockets are never opened and devices never made. Mounts below
//! DIR are served, also those that come later: every name is looked up when it is asked for.
//!
//! Who may do what inside the guest is for the guest's kernel to decide (mount option `access=client`): the
//! server acts as root, and gives what it makes to the user of the Tattach and the group of the request.
//!
//! `docs/reference/shares.md` has the limits and what of POSIX holds on a share.

mod args;
mod attributes;
mod confine;
mod connection;
mod directories;
mod epoll;
mod errno;
mod fids;
mod files;
mod filter;
mod host;
mod locks;
mod qids;
mod server;
mod session;
mod sync;
mod wire;
mod xattr;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::sync::Arc;

use args::Args;
use server::Server;
use session::Export;

fn main() -> ExitCode {
    match Args::parse(std::env::args_os().skip(1)).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trine-p9: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: Args) -> io::Result<()> {
    let step = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
    };
    let root: OwnedFd = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(&args.root)
        .map_err(step(&format!("open the root {}", args.root.display())))?
        .into();
    let descriptors = confine::limit_descriptors().map_err(step("limit the descriptors"))?;
    confine::enter_descriptors().map_err(step("enter /proc/self/fd"))?;
    confine::drop_privileges().map_err(step("drop the capabilities, which takes root's"))?;
    let listener = args.listener().map_err(step("take over --listen-fd"))?;
    let server = Server::new(listener, Export::new(root, descriptors))?;
    Arc::new(server).run(args.workers, || {
        filter::apply().map_err(step("apply the seccomp filter"))
    })
}
