//! The pod's volumes in a whole machine: one 9P mount over the guest link, and each volume bound where the machine is to
//! have it. They are as good as the link: with a new one they are mounted anew, in place of what the old one has left.

mod old;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use crate::agent::Agent;
use crate::calls::guest::open_share;
use crate::container::mount_api::{attach, change, copy_tree};
use crate::container::paths::{ensure_dir, ensure_file, open_source};
use crate::helper::For;
use crate::mounts::nine_p;
use crate::pause::Pause;
use crate::sys::{during, invalid, open};

/// As the stream is named, and the mounts' source: by which they are found again.
const NAME: &str = "pod";
const SOURCE: &str = "trine-shares";
/// Where all of them are, each under its name.
const WHOLE: &str = "/run/trine/shares";
const MAX_LIST: u64 = 1 << 20;
const MAX_PLACES: usize = 256;

pub struct Shares {
    places: Vec<Place>,
    /// Written when they are there, or cannot be: what waits for them looks for it.
    told: String,
    /// A child is at it; what it does is of an older link by now.
    busy: bool,
    outdated: bool,
    /// What carries them; none: the host has ended it, or has not opened it.
    stream: Option<u32>,
    /// Before they are mounted anew.
    pause: Pause,
}

#[derive(Debug, PartialEq, Eq, Clone)]
struct Place {
    is_file: bool,
    read_only: bool,
    /// Below the share.
    name: String,
    target: String,
}

impl Shares {
    /// `list`: a file with a line for each, parents first: directory or file, ro or rw, its name and its place, with tabs
    /// between. What came of it is told in a file beside it.
    pub fn listed_in(list: &str) -> io::Result<Shares> {
        if fs::metadata(list).map_err(during(list))?.len() > MAX_LIST {
            return Err(invalid(format!("{list}: more than {MAX_LIST} bytes")));
        }
        let text = fs::read_to_string(list).map_err(during(list))?;
        Ok(Shares {
            places: parse(&text)?,
            told: format!("{list}.told"),
            busy: false,
            outdated: false,
            stream: None,
            pause: Pause::default(),
        })
    }
}

impl Agent {
    /// The link has begun anew.
    pub fn mount_shares(&mut self) {
        let Some(shares) = self.shares.as_mut() else {
            return;
        };
        shares.pause.cancel();
        shares.stream = None;
        if shares.busy {
            shares.outdated = true; // its stream is cut: it ends soon
            return;
        }
        let places = shares.places.clone();
        if let Err(error) = self.begin_shares(places) {
            if let Some(shares) = self.shares.as_mut() {
                shares.pause.begin(Instant::now());
            }
            self.tell_shares(&error.to_string());
        }
    }

    /// The host has ended what carries a share: its server has died, and the node starts another.
    pub fn share_ended(&mut self, stream: u32) {
        let Some(shares) = self.shares.as_mut() else {
            return;
        };
        if shares.stream.take_if(|ours| *ours == stream).is_some() && !shares.busy {
            shares.pause.begin(Instant::now());
        }
    }

    pub fn mount_shares_again(&mut self, now: Instant) {
        if let Some(shares) = self.shares.as_mut()
            && shares.pause.ends(now)
        {
            self.mount_shares();
        }
    }

    pub fn shares_deadline(&self) -> Option<Instant> {
        self.shares.as_ref()?.pause.deadline()
    }

    fn begin_shares(&mut self, places: Vec<Place>) -> io::Result<()> {
        let (socket, stream) =
            open_share(self, NAME).map_err(|refused| io::Error::other(refused.0.message))?;
        let needs = Some(socket.as_raw_fd());
        let work = move || mount_all(&places, &socket);
        self.help(For::Shares, String::new(), needs, work)?;
        if let Some(shares) = self.shares.as_mut() {
            shares.busy = true;
            shares.stream = Some(stream);
        }
        Ok(())
    }

    /// The child has done it, or has not.
    pub fn shares_reported(&mut self, failed: Option<&str>) {
        let Some(shares) = self.shares.as_mut() else {
            return;
        };
        shares.busy = false;
        if std::mem::take(&mut shares.outdated) {
            return self.mount_shares();
        }
        match shares.stream {
            Some(_) => shares.pause.succeeded(Instant::now()),
            None => shares.pause.begin(Instant::now()),
        }
        self.tell_shares(failed.unwrap_or_default());
    }

    fn tell_shares(&self, failed: &str) {
        let Some(shares) = &self.shares else { return };
        if !failed.is_empty() {
            eprintln!("trine-agent: the pod's volumes: {failed}");
        }
        // Whole from the moment it is there: who waits for it reads it at once.
        let new = format!("{}.new", shares.told);
        if let Err(error) = fs::write(&new, failed).and_then(|()| fs::rename(&new, &shares.told)) {
            eprintln!("trine-agent: {}: {error}", shares.told);
        }
    }
}

fn parse(text: &str) -> io::Result<Vec<Place>> {
    let places: Vec<Place> = text
        .lines()
        .map(|line| place(line).ok_or_else(|| invalid(format!("{line:?} is no volume's place"))))
        .collect::<io::Result<_>>()?;
    if places.len() > MAX_PLACES {
        return Err(invalid(format!("more than {MAX_PLACES} volumes")));
    }
    Ok(places)
}

fn place(line: &str) -> Option<Place> {
    let mut words = line.split('\t');
    let is_file = match words.next()? {
        "directory" => false,
        "file" => true,
        _ => return None,
    };
    let read_only = match words.next()? {
        "rw" => false,
        "ro" => true,
        _ => return None,
    };
    let (name, target) = (words.next()?, words.next()?);
    let is_name = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
    let is_place = target.starts_with('/') && words.next().is_none();
    (is_name && is_place).then(|| Place {
        is_file,
        read_only,
        name: name.to_owned(),
        target: target.to_owned(),
    })
}

/// In a child: the agent carries the share's bytes. Where they cannot be mounted all stays as it is; a place that cannot be made keeps none of the others away.
fn mount_all(places: &[Place], socket: &UnixStream) -> io::Result<()> {
    // What there is stays while no server answers: at a bare directory what programs write would be lost, at a dead
    // mount they have errors.
    let whole = nine_p(SOURCE, socket, false).map_err(during("mount them"))?;
    let covered = old::take_off()?;
    old::refuse_below(&covered, WHOLE)?;
    let root = open("/", libc::O_PATH | libc::O_DIRECTORY)?;
    attach(&whole, ensure_dir(root.as_fd(), WHOLE)?.as_fd()).map_err(during(WHOLE))?;
    let failed: Vec<String> = places
        .iter()
        .filter_map(|place| {
            old::refuse_below(&covered, &place.target)
                .and_then(|()| bind(place, root.as_fd()))
                .map_err(during(&place.target))
                .err()
        })
        .map(|error| error.to_string())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(failed.join("; ")))
}

fn bind(place: &Place, root: BorrowedFd<'_>) -> io::Result<()> {
    let source = open_source(&format!("{WHOLE}/{}", place.name))?;
    let copy = copy_tree(source.as_fd(), false)?;
    if place.read_only {
        change(copy.as_fd(), false, libc::MOUNT_ATTR_RDONLY, 0, 0)?;
    }
    let target = if place.is_file {
        ensure_file(root, &place.target)?
    } else {
        ensure_dir(root, &place.target)?
    };
    attach(&copy, target.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_volume_is_and_where_it_goes() {
        let places = parse("directory\trw\ta\t/data dir\nfile\tro\tf\t/etc/it's\n").expect("fine");
        assert_eq!(places.len(), 2);
        assert_eq!(
            places.last(),
            Some(&Place {
                is_file: true,
                read_only: true,
                name: "f".to_owned(),
                target: "/etc/it's".to_owned()
            })
        );
        for bad in [
            "link\trw\ta\t/a",
            "file\trx\ta\t/a",
            "file\trw\t..\t/a",
            "file\trw\ta/b\t/a",
            "file\trw\t\t/a",
            "file\trw\ta\ta",
            "file\trw\ta\t/a\tmore",
            "file\trw\ta",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn too_many_are_refused() {
        assert!(parse(&"file\trw\ta\t/a\n".repeat(MAX_PLACES)).is_ok());
        assert!(parse(&"file\trw\ta\t/a\n".repeat(MAX_PLACES + 1)).is_err());
    }
}
