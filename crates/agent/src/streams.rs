//! Streams of the guest link by their names (docs: the guest link): who gets what.

use crate::agent::{Agent, Role};
use crate::pump;
use crate::rpc::Rpc;
use crate::stdio::{self, Output};

impl Agent {
    pub fn opened(&mut self, id: u32, name: &str) {
        let mut parts = name.split('/');
        let kind = parts.next().unwrap_or_default();
        let (first, second) = (parts.next(), parts.next());
        let extra = parts.next();
        let result = match (kind, first, second, extra) {
            ("rpc", None, None, None) => {
                self.rpcs.insert(id, Rpc::default());
                self.roles.insert(id, Role::Rpc);
                Ok(())
            }
            ("tcp", Some(address), Some(port), None) => pump::connect(self, id, address, port),
            (_, Some(container), Some(exec), None) => self.join(id, kind, container, exec),
            _ => Err("no such stream"),
        };
        if let Err(reason) = result {
            self.link.mux.abort(id, reason);
        }
    }

    fn join(
        &mut self,
        id: u32,
        kind: &str,
        container: &str,
        exec: &str,
    ) -> Result<(), &'static str> {
        let number = self.find(container, exec).ok_or("no such process")?;
        let process = self.processes.get_mut(&number).ok_or("no such process")?;
        let streams = &mut process.streams;
        let (role, before) = match kind {
            "stdin" => (Role::Stdin(number), streams.stdin.replace(id)),
            "stdout" => (Role::Stdout(number), streams.stdout.replace(id)),
            "stderr" if process.terminal => return Err("a terminal has no stderr"),
            "stderr" => (Role::Stderr(number), streams.stderr.replace(id)),
            "exit" => {
                streams.exits.push(id);
                (Role::Exit(number), None)
            }
            _ => return Err("no such stream"),
        };
        self.roles.insert(id, role);
        if let Some(before) = before {
            self.roles.remove(&before);
            self.link.mux.abort(before, "opened again");
        }
        match role {
            Role::Stdin(n) => stdio::feed(self, n),
            Role::Stdout(n) => stdio::drain(self, n, Output::Stdout),
            Role::Stderr(n) => stdio::drain(self, n, Output::Stderr),
            Role::Exit(n) => self.tell_exit(n),
            Role::Rpc | Role::Pump(_) => {}
        }
        Ok(())
    }

    /// The number of a process.
    pub fn find(&self, container: &str, exec: &str) -> Option<u32> {
        self.processes
            .iter()
            .find(|(_, p)| p.container == container && p.exec == exec)
            .map(|(number, _)| *number)
    }

    /// Sends a process's end to whoever has asked for it.
    pub fn tell_exit(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let Some(exit) = process.exit() else { return };
        let bytes = trine_wire::Message::encode_to_vec(exit);
        for id in std::mem::take(&mut process.streams.exits) {
            // A few bytes: there is always room for them in a new stream.
            self.link.mux.send(id, &bytes);
            self.link.mux.fin(id);
            self.roles.remove(&id);
        }
    }

    /// The host has given a stream up.
    pub fn closed(&mut self, id: u32) {
        match self.roles.remove(&id) {
            None => {}
            Some(Role::Rpc) => self.connection_lost(id),
            Some(Role::Pump(number)) => self.pump_ended(number),
            Some(Role::Stdin(n) | Role::Stdout(n) | Role::Stderr(n) | Role::Exit(n)) => {
                self.leave(n, id);
            }
        }
    }

    fn leave(&mut self, number: u32, id: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let streams = &mut process.streams;
        for one in [&mut streams.stdin, &mut streams.stdout, &mut streams.stderr] {
            if *one == Some(id) {
                *one = None;
            }
        }
        streams.exits.retain(|exit| *exit != id);
        // What nobody reads any more waits in its pipe.
        process.unwatch(&self.reactor);
        stdio::drain(self, number, Output::Stdout);
        stdio::drain(self, number, Output::Stderr);
        stdio::feed(self, number);
    }

    /// A new link knows none of the old streams. Processes and shares go on without.
    pub fn forget_streams(&mut self) {
        self.roles.clear();
        let connections: Vec<u32> = self.rpcs.keys().copied().collect();
        for id in connections {
            self.connection_lost(id);
        }
        self.pumps.clear();
        for process in self.processes.values_mut() {
            process.streams = Default::default();
            process.unwatch(&self.reactor);
        }
    }

    fn connection_lost(&mut self, id: u32) {
        self.rpcs.remove(&id);
        self.events.forget(id);
        self.deadlines.retain(|_, call| call.stream != id);
    }
}
