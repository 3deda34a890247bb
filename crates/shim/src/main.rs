//! containerd-shim-trine-v2: one small process a pod. It keeps what must outlive the node daemon (processes,
//! pipes, exit codes, the journal of calls) and relays the rest to it. containerd-shim-trine-vm-v2 and
//! containerd-shim-trine-microvm-v2 are links to it.

mod answer;
mod args;
mod become_pod;
mod channels;
mod child;
mod child_log;
mod children;
mod client;
mod console;
mod control;
mod delete;
mod descriptors;
mod fit;
mod guest;
mod host;
mod identity;
mod inbox;
mod info;
mod json;
mod link;
mod log;
mod memory;
mod monitor;
mod nested;
mod nested_ends;
mod nested_start;
mod netserve;
mod notes;
mod pause;
mod pin_threads;
mod pod;
mod process;
mod programs;
mod publisher;
mod reactor;
mod relay;
mod serve;
mod server;
mod shim;
mod signals;
mod spare;
mod spool;
mod start;
mod stdio;
mod task_answers;
mod task_ends;
mod tasks;
mod waiting;

use std::process::ExitCode;

use args::Args;

fn main() -> ExitCode {
    let args = Args::parse(std::env::args_os());
    let result = match args.action.as_str() {
        _ if args.info => info::info(&args),
        _ if args.version => {
            println!("{} {}", args.runtime, env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        "start" => start::start(&args),
        "make" => start::make(&args),
        "delete" => delete::delete(&args),
        "serve" => serve::serve(&args),
        "pause" => pause::pause(),
        other => Err(std::io::Error::other(format!("unknown action {other:?}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", args.runtime);
            ExitCode::FAILURE
        }
    }
}
