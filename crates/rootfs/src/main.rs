//! trine-rootfs: writes the files of an image, which a tenant may have made, into one erofs file.
//!
//! `trine-rootfs --mkfs PROGRAM --uid N --max-bytes N --uuid UUID --work DIR --out FILE LAYER...`
//!
//! The layers are directories as overlayfs has them, uppermost first. It mounts them over each other, read-only, in a
//! mount namespace of its own whose root is DIR, and becomes mkfs.erofs there: without privileges but for reading
//! files of all owners, without a network, with limits. All of it ends with the process, and the process with its
//! parent. FILE is written in place: it must be there.
//!
//! `trine-rootfs --behind-filter PROGRAM ARGUMENT...`
//!
//! Becomes another program that is given such images in a jail made by somebody else, behind the same refusals.
//!
//! `trine-rootfs --views DIR`
//!
//! Puts the files of the lxcfs at DIR over those of running containers, named on its input.

mod apart;
mod args;
mod confine;
mod filter;
mod tree;
mod views;

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use trine_linux::{c_string, check, during, invalid};

use args::Args;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == "--views").is_some() {
        return match views::bind(&words.next().unwrap_or_default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("trine-rootfs: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let done = match words.next_if(|word| word == "--behind-filter") {
        Some(_) => become_filtered(words),
        None => Args::parse(words).and_then(|args| become_mkfs(&args)),
    };
    if let Err(error) = done {
        eprintln!("trine-rootfs: {error}");
    }
    ExitCode::FAILURE
}

/// Only comes back with an error.
fn become_filtered(mut words: impl Iterator<Item = String>) -> io::Result<()> {
    let program = words
        .next()
        .ok_or_else(|| invalid("--behind-filter: a program is missing"))?;
    filter::apply().map_err(during("refuse system calls"))?;
    let error = Command::new(&program).args(words).exec();
    Err(error).map_err(during(format!("execute {program}")))
}

/// Only comes back with an error.
fn become_mkfs(args: &Args) -> io::Result<()> {
    let parent = std::os::unix::process::parent_id();
    confine::limit(args.max_bytes)?;
    tree::enter(args)?;
    confine::drop_privileges(args.uid)?;
    confine::end_with_parent(parent)?;
    filter::apply().map_err(during("refuse system calls"))?;
    execute(args)
}

fn execute(args: &Args) -> io::Result<()> {
    let program = c_string(args.mkfs.as_str())?;
    let words: [&str; 7] = [
        "mkfs.erofs",
        "--quiet",
        // Owners above 65535 and times to the nanosecond, as the layers have them.
        "-Eforce-inode-extended",
        "-U",
        &args.uuid,
        tree::OUT,
        tree::IMAGE,
    ];
    let words = words
        .map(c_string)
        .into_iter()
        .collect::<io::Result<Vec<CString>>>()?;
    let argv: Vec<_> = words
        .iter()
        .map(|word| word.as_ptr())
        .chain([std::ptr::null()])
        .collect();
    let environment = [std::ptr::null()];
    // SAFETY: both lists end with a null pointer, and their strings outlive the call.
    check(unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()) })
        .map_err(during(format!("execute {}", args.mkfs)))?;
    Ok(())
}
