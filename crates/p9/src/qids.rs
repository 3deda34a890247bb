//! One number a file for the guest, although the tree is made of many file systems: a volume is a mount of
//! its own, and the guest's kernel takes two files with one number for the same.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

use crate::sync::lock;

const INODE_BITS: u32 = 48;
/// Devices that get a number of their own; what lies above has the top bit, and is hashed.
const DEVICES: u64 = 1 << 15;
const HASHED: u64 = 1 << 63;

#[derive(Default)]
pub struct Qids {
    devices: Mutex<HashMap<u64, u64>>,
}

impl Qids {
    /// The first device seen, which is the root's, keeps its inode numbers as they are.
    pub fn path(&self, device: u64, inode: u64) -> u64 {
        let mut devices = lock(&self.devices);
        let next = devices.len() as u64;
        let index = match devices.get(&device) {
            Some(index) => *index,
            None if next < DEVICES => *devices.entry(device).or_insert(next),
            None => DEVICES,
        };
        if index < DEVICES && inode >> INODE_BITS == 0 {
            return index << INODE_BITS | inode;
        }
        let mut hasher = DefaultHasher::new();
        (device, inode).hash(&mut hasher);
        hasher.finish() | HASHED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_different_devices_differ() {
        let qids = Qids::default();
        assert_eq!(qids.path(40, 7), 7);
        let other = qids.path(41, 7);
        assert_ne!(other, 7);
        assert_eq!(qids.path(41, 7), other);
        assert_ne!(qids.path(40, 1 << 50), qids.path(41, 1 << 50));
        assert_eq!(qids.path(40, 1 << 50), qids.path(40, 1 << 50));
    }

    #[test]
    fn more_devices_than_numbers_still_differ() {
        let qids = Qids::default();
        let mut seen: Vec<u64> = (0..DEVICES + 10).map(|d| qids.path(d, 2)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len() as u64, DEVICES + 10);
    }
}
