//! What a freezer's child does: file systems stand still, and go on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use crate::disk_mounts::{self, DiskMount};
use crate::sys::{check, during, invalid, read};

/// `_IOWR('X', 119 and 120, int)` of linux/fs.h.
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;

/// An error where it is not known which there are: a part of them standing still is no freeze.
pub fn open_all() -> io::Result<Vec<File>> {
    Ok(disk_mounts::all()?.iter().filter_map(opened).collect())
}

/// Of whoever has frozen them; an error when one of them may stand still, after all the others were thawed.
pub fn thaw_everything() -> io::Result<()> {
    first_error(disk_mounts::all()?.iter().map(thaw))
}

fn thaw(mount: &DiskMount) -> io::Result<()> {
    let point = mount.point.display();
    let file = opened(mount).ok_or_else(|| invalid(format!("{point} is hidden")))?;
    match order(&file, FITHAW) {
        // It says so when it does not stand still, or cannot.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) || is_no_matter(&error) => Ok(()),
        other => other.map_err(during(format!("thaw {point}"))),
    }
}

/// Of work that is all done, whatever of it fails.
fn first_error(all: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    all.fold(Ok(()), Result::and)
}

/// None: something else lies over it, or it cannot be opened; it goes on.
fn opened(mount: &DiskMount) -> Option<File> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&mount.point)
        .ok()?;
    let device = file.metadata().ok()?.dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    // Each of btrfs' subvolumes has a number of its own.
    (number == mount.number || mount.kind == "btrfs").then_some(file)
}

/// The last that was mounted first: a file system may be in a file of one that was mounted before.
pub fn freeze_all(all: &[File]) -> io::Result<()> {
    for file in all.iter().rev() {
        match order(file, FIFREEZE) {
            Err(error) if !is_no_matter(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// One that cannot stand still goes on, one that does so already is no failure.
fn is_no_matter(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::EBUSY)
    )
}

/// What was not frozen says so, and nobody is to be told.
pub fn thaw_all(all: &[File]) {
    for file in all {
        let _ = order(file, FITHAW);
    }
}

fn order(file: &impl AsFd, what: libc::c_ulong) -> io::Result<()> {
    // SAFETY: neither order takes or gives anything.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), what as _, 0) }).map(|_| ())
}

/// Until the time is over, which may be set anew, or the other end is closed.
pub fn wait(orders: &OwnedFd, patience: Duration) {
    let mut end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut waits = libc::pollfd {
            fd: orders.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // At least a millisecond while anything is left.
        let ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: the pointer is to one entry and outlives the call.
        let count = unsafe { libc::poll(&raw mut waits, 1, ms) };
        if count == 0 && end <= Instant::now() {
            return;
        }
        if count <= 0 {
            continue;
        }
        let mut ms = [0; 4];
        match read(orders, &mut ms) {
            Ok(4) => end = Instant::now() + Duration::from_millis(u32::from_ne_bytes(ms).into()),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{pipe, write};

    #[test]
    fn the_wait_ends_with_its_time_its_other_end_or_not_before() {
        let (theirs, ours) = pipe().expect("pipe");
        wait(&theirs, Duration::from_millis(1));
        write(&ours, &1_u32.to_ne_bytes()).expect("written");
        // The hour is taken back.
        wait(&theirs, Duration::from_secs(3600));
        drop(ours);
        wait(&theirs, Duration::from_secs(3600));
    }

    #[test]
    fn one_that_cannot_be_thawed_keeps_none_of_the_others_from_it() {
        let mut asked = 0;
        let all = [
            Ok(()),
            Err(invalid("first")),
            Ok(()),
            Err(invalid("second")),
        ];
        let told = first_error(all.into_iter().inspect(|_| asked += 1));
        assert_eq!(told.expect_err("two").to_string(), "first");
        assert_eq!(asked, 4);
        assert!(first_error([Ok(()), Ok(())].into_iter()).is_ok());
    }

    #[test]
    fn what_cannot_stand_still_is_no_matter() {
        let file = File::open("/proc/self/stat").expect("there");
        let error = order(&file, FITHAW).expect_err("nothing stands still there");
        assert!(freeze_all(&[]).is_ok());
        assert!(error.raw_os_error().is_some());
    }
}
