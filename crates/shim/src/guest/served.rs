//! Streams that the guest opens: only of what has been put there for it.

use std::path::PathBuf;

use super::joins::{MAX_JOINS, Origin};
use super::{Guest, ports};
use crate::host::sys;
use crate::shim::Shim;

/// Where streams go that the guest opens under some first word.
pub struct Served {
    /// The child that listens.
    pub key: String,
    pub path: PathBuf,
}

impl Shim {
    pub fn guest_opened(&mut self, guest: &mut Guest, id: u32, name: &str) {
        let word = name.split('/').next().unwrap_or_default();
        if word == ports::WORD {
            return self.guest_connects(guest, id, name);
        }
        let Some(served) = self.serves.get(word) else {
            return guest.mux.abort(id, "nothing of that name is served");
        };
        if self.join_count(Origin::Served) >= MAX_JOINS {
            return guest.mux.abort(id, "too many streams");
        }
        match sys::connect_unix(&served.path) {
            Ok(stream) => self.join(guest, id, Origin::Served, stream.into()),
            Err(error) => {
                self.log
                    .line(&format!("stream {word} of the guest: {error}"));
                guest.mux.abort(id, "its server is not there");
            }
        }
    }
}
