//! PinThreads: the CPUs of the host on which a child's threads run. Which threads are which the VMM's monitor says, and
//! what it says is not believed: a thread must be the child's.

use trine_wire::shim;

use crate::answer::{Answer, Code, Failure, decode, empty, failure};
use crate::descriptors::invalid;
use crate::host::pin;
use crate::shim::Shim;

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
    let threads = pin::threads_of(pid)?;
    if wanted.thread == 0 {
        for thread in threads {
            pin::pin(thread, &wanted.cpus)?;
        }
        return Ok(());
    }
    let thread = i32::try_from(wanted.thread).unwrap_or(-1);
    if !threads.contains(&thread) {
        let message = format!("thread {} is none of process {pid}", wanted.thread);
        return Err(failure(Code::NotFound, message));
    }
    Ok(pin::pin(thread, &wanted.cpus)?)
}
