//! PinThreads: the CPUs of the host on which a child's threads run. Which threads are which the VMM's monitor says, and
//! what it says is not believed: a thread must be the child's.

use trine_wire::shim;

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::descriptors::invalid;
use crate::host::pin;
use crate::shim::Shim;

/// A process whose threads come and go is pinned as well as it can be.
const MAX_LISTINGS: usize = 8;
const MAX_PINS: usize = 1024;

impl Shim {
    pub fn pin_threads(&mut self, payload: &[u8]) -> Answer {
        let request: shim::PinThreadsRequest = decode(payload)?;
        let child = self.children.get(&request.key);
        let running = child.filter(|child| child.is_running());
        let pid = running.map(|child| child.pid).ok_or_else(|| {
            let key = &request.key;
            failure(Code::NotFound, format!("child {key} does not run"))
        })?;
        if request.pins.len() > MAX_PINS {
            return Err(invalid(format!("at most {MAX_PINS} pins")));
        }
        for each in &request.pins {
            pin_one(pid, each)?;
        }
        Ok(empty())
    }
}

fn pin_one(pid: i32, wanted: &shim::Pin) -> Result<(), Failure> {
    if wanted.thread == 0 {
        return pin_all(pid, &wanted.cpus);
    }
    let thread = i32::try_from(wanted.thread).unwrap_or(-1);
    if !pin::is_thread_of(pid, thread) {
        let message = format!("thread {} is none of process {pid}", wanted.thread);
        return Err(failure(Code::NotFound, message));
    }
    Ok(pin::pin(thread, &wanted.cpus)?)
}

/// Every thread, until two listings are the same: threads that end meanwhile hide others, and need no CPU.
fn pin_all(pid: i32, cpus: &[u32]) -> Result<(), Failure> {
    let mut before = Vec::new();
    for _ in 0..MAX_LISTINGS {
        let threads = pin::threads_of(pid)?;
        if threads == before {
            break;
        }
        for thread in &threads {
            match pin::pin(*thread, cpus) {
                Err(error) if !pin::is_thread_of(pid, *thread) => drop(error),
                pinned => pinned?,
            }
        }
        before = threads;
    }
    Ok(())
}
