//! How nested tasks end: by themselves, as the nested shim tells; or with the nested shim, whose remains are then
//! cleared as containerd clears a dead shim's, by its own `delete`, and for good only after that.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use trine_wire::{Message, shim, task};

use crate::answer::{Code, Failure, decode, empty, failure};
use crate::nested::NESTED_KEY;
use crate::process::now_stamp;
use crate::programs::Purpose;
use crate::relay::Relayed;
use crate::server::Call;
use crate::shim::Shim;
use crate::tasks::SIGKILL;

/// In the bundle of a nested task: the program that has it.
pub const RECORD_FILE: &str = "trine-nested";
const MAX_RECORD: u64 = 4096;
const CLEAN_LIMIT_MS: u32 = 20_000;

/// What clears a dead nested shim's task: argv, as containerd runs it, in the bundle.
fn delete_argv(program: &str, namespace: &str, id: &str, bundle: &str) -> Vec<String> {
    let words = [
        program,
        "-namespace",
        namespace,
        "-id",
        id,
        "-bundle",
        bundle,
        "delete",
    ];
    words.map(str::to_owned).to_vec()
}

/// The program that had this bundle's task; `None`: no nested shim had it.
pub fn program_of(bundle: &Path) -> io::Result<Option<String>> {
    let path = bundle.join(RECORD_FILE);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > MAX_RECORD => return Err(io::ErrorKind::InvalidData.into()),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let text = fs::read_to_string(path)?;
    let program = text.trim();
    Ok(program.starts_with('/').then(|| program.to_owned()))
}

/// For our own `delete`: what the nested shim's says, its answer to containerd.
pub fn delete_nested(
    program: &str,
    namespace: &str,
    id: &str,
    bundle: &Path,
) -> io::Result<Vec<u8>> {
    let argv = delete_argv(program, namespace, id, &bundle.to_string_lossy());
    let output = Command::new(program)
        .args(argv.get(1..).unwrap_or_default())
        .current_dir(bundle)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(io::Error::other(format!(
            "{program} delete: {}",
            output.status
        ))),
    }
}

fn ended() -> Failure {
    failure(Code::Unavailable, "the nested shim has ended")
}

impl Shim {
    pub fn nested_exited(&mut self, number: u32, payload: &[u8]) {
        let status = decode::<task::WaitResponse>(payload).unwrap_or(task::WaitResponse {
            exit_status: 255,
            exited_at: None,
        });
        let at = status.exited_at.unwrap_or_else(now_stamp);
        self.end_process(number, status.exit_status, at, false);
    }

    /// The nested shim is gone: no call to it is answered any more. One that only hangs is ended.
    pub fn nested_lost(&mut self, why: &str) {
        let Some(nested) = self.nested.take() else {
            return;
        };
        self.log.line(&format!("nested shim gone: {why}"));
        if let Err(failure) = self.signal_child(NESTED_KEY, SIGKILL) {
            self.log.line(&format!("end it: {}", failure.0.message));
        }
        let running = self
            .processes
            .iter()
            .filter(|(_, p)| p.nested == Some(nested.number()) && p.is_task());
        let running: Vec<u32> = running
            .filter(|(number, p)| !p.is_stopped() && !p.deleted && !nested.creates(**number))
            .map(|(number, _)| *number)
            .collect();
        for forwarded in nested.into_calls() {
            match forwarded.what {
                Relayed::Wait(_) => {}
                // What is half made goes before its Create fails: nobody asks for its end afterwards.
                what @ (Relayed::Create(_) | Relayed::Delete(_)) => {
                    self.clean_nested(what, forwarded.call);
                }
                Relayed::Kill(_) => self.relay_done(forwarded.what, forwarded.call, Ok(empty())),
                what => {
                    self.relay_done(what, forwarded.call, Err(ended()));
                }
            }
        }
        for number in running {
            self.clean_nested(Relayed::Delete(number), None);
        }
    }

    /// Runs the dead nested shim's `delete`; the task has ended when that has. `call`: containerd's Create or Delete
    /// of it.
    pub fn clean_nested(&mut self, what: Relayed, call: Option<Call>) {
        let Some(process) = self.processes.get(&what.process()) else {
            if let Some(call) = call {
                self.reply(call, Err(failure(Code::NotFound, "the task is gone")));
            }
            return;
        };
        if !process.is_task() {
            return self.relay_done(what, call, Ok(empty()));
        }
        let (id, bundle) = (process.id.clone(), process.bundle.clone());
        let program = program_of(Path::new(&bundle));
        let Ok(Some(program)) = program else {
            self.log
                .line(&format!("task {id}: no record of its nested shim"));
            return self.nested_cleaned(what, call, &[]);
        };
        let request = shim::RunRequest {
            argv: delete_argv(&program, &self.identity.namespace, &id, &bundle),
            stdin: Vec::new(),
            timeout_ms: CLEAN_LIMIT_MS,
        };
        self.run_for(Purpose::CleanNested(what, call), request, &bundle);
    }

    /// `said`: a DeleteResponse; without one the task was killed.
    pub fn nested_cleaned(&mut self, what: Relayed, call: Option<Call>, said: &[u8]) {
        if matches!(what, Relayed::Create(_)) {
            return self.relay_done(what, call, Err(ended()));
        }
        let said = task::DeleteResponse::decode(said).unwrap_or_default();
        let status = match said.exit_status {
            0 if said.exited_at.is_none() => 128 + SIGKILL,
            status => status,
        };
        self.end_process(
            what.process(),
            status,
            said.exited_at.unwrap_or_else(now_stamp),
            false,
        );
        if call.is_some() {
            self.relay_done(what, call, Ok(empty()));
        }
    }
}
