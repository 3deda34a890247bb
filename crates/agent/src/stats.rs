//! A container's figures from its control group, and the guest's own.

use std::fs;

use trine_wire::agent::{NetworkStats, StatsResponse};
use trine_wire::metrics::{CpuStat, IoEntry, IoStat, MemoryEvents, MemoryStat, Metrics, PidsStat};

use crate::container::cgroup::Group;

pub mod whole;

/// All three that readers look at without asking are filled, with zeroes where the kernel counts nothing.
pub fn of(group: &Group) -> StatsResponse {
    of_guest(Metrics {
        pids: Some(PidsStat {
            current: number(group, "pids.current").unwrap_or(0),
            limit: number(group, "pids.max").unwrap_or(0),
        }),
        cpu: Some(cpu(&Lines::of(group, "cpu.stat"))),
        memory: Some(memory(group)),
        rdma: None,
        io: Some(io(&group.read("io.stat").unwrap_or_default())),
        hugetlb: Vec::new(),
        memory_events: Some(events(&Lines::of(group, "memory.events"))),
    })
}

/// What the guest says of itself, beside the figures of `container`.
fn of_guest(container: Metrics) -> StatsResponse {
    let info = Lines::at("/proc/meminfo");
    StatsResponse {
        container: Some(container),
        guest_memory_total_bytes: info.kib("MemTotal:"),
        guest_memory_available_bytes: info.kib("MemAvailable:"),
        network: network(&fs::read_to_string("/proc/net/dev").unwrap_or_default()),
    }
}

/// A file of `key number` lines.
struct Lines(String);

impl Lines {
    fn of(group: &Group, file: &str) -> Lines {
        Lines(group.read(file).unwrap_or_default())
    }

    fn at(path: &str) -> Lines {
        Lines(fs::read_to_string(path).unwrap_or_default())
    }

    fn get(&self, key: &str) -> u64 {
        let value = self.0.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == key).then(|| words.next()?.parse().ok())?
        });
        value.unwrap_or(0)
    }

    /// In bytes, what is counted in KiB.
    fn kib(&self, key: &str) -> u64 {
        self.get(key).saturating_mul(1024)
    }
}

/// A file of one number; none when it says "max" or is not there.
fn number(group: &Group, file: &str) -> Option<u64> {
    group.read(file).ok()?.trim().parse().ok()
}

fn cpu(stat: &Lines) -> CpuStat {
    CpuStat {
        usage_usec: stat.get("usage_usec"),
        user_usec: stat.get("user_usec"),
        system_usec: stat.get("system_usec"),
        nr_periods: stat.get("nr_periods"),
        nr_throttled: stat.get("nr_throttled"),
        throttled_usec: stat.get("throttled_usec"),
    }
}

fn events(events: &Lines) -> MemoryEvents {
    MemoryEvents {
        low: events.get("low"),
        high: events.get("high"),
        max: events.get("max"),
        oom: events.get("oom"),
        oom_kill: events.get("oom_kill"),
    }
}

fn memory(group: &Group) -> MemoryStat {
    let stat = Lines::of(group, "memory.stat");
    let get = |key: &str| stat.get(key);
    MemoryStat {
        anon: get("anon"),
        file: get("file"),
        kernel_stack: get("kernel_stack"),
        slab: get("slab"),
        sock: get("sock"),
        shmem: get("shmem"),
        file_mapped: get("file_mapped"),
        file_dirty: get("file_dirty"),
        file_writeback: get("file_writeback"),
        anon_thp: get("anon_thp"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        slab_reclaimable: get("slab_reclaimable"),
        slab_unreclaimable: get("slab_unreclaimable"),
        pgfault: get("pgfault"),
        pgmajfault: get("pgmajfault"),
        workingset_refault: get("workingset_refault_anon") + get("workingset_refault_file"),
        workingset_activate: get("workingset_activate_anon") + get("workingset_activate_file"),
        workingset_nodereclaim: get("workingset_nodereclaim"),
        pgrefill: get("pgrefill"),
        pgscan: get("pgscan"),
        pgsteal: get("pgsteal"),
        pgactivate: get("pgactivate"),
        pgdeactivate: get("pgdeactivate"),
        pglazyfree: get("pglazyfree"),
        pglazyfreed: get("pglazyfreed"),
        thp_fault_alloc: get("thp_fault_alloc"),
        thp_collapse_alloc: get("thp_collapse_alloc"),
        usage: number(group, "memory.current").unwrap_or(0),
        usage_limit: number(group, "memory.max").unwrap_or(u64::MAX),
        swap_usage: number(group, "memory.swap.current").unwrap_or(0),
        swap_limit: number(group, "memory.swap.max").unwrap_or(u64::MAX),
        max_usage: number(group, "memory.peak").unwrap_or(0),
        swap_max_usage: number(group, "memory.swap.peak").unwrap_or(0),
    }
}

/// Lines like `254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
fn io(text: &str) -> IoStat {
    let entry = |line: &str| {
        let mut words = line.split(' ');
        let (major, minor) = words.next()?.split_once(':')?;
        let mut entry = IoEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            ..IoEntry::default()
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => entry.rbytes = value,
                "wbytes" => entry.wbytes = value,
                "rios" => entry.rios = value,
                "wios" => entry.wios = value,
                _ => {}
            }
        }
        Some(entry)
    };
    IoStat {
        usage: text.lines().filter_map(entry).collect(),
    }
}

fn network(table: &str) -> Vec<NetworkStats> {
    let one = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let counts: Vec<u64> = counts
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        Some(NetworkStats {
            name: name.trim().to_owned(),
            received_bytes: *counts.first()?,
            received_packets: *counts.get(1)?,
            received_errors: *counts.get(2)?,
            sent_bytes: *counts.get(8)?,
            sent_packets: *counts.get(9)?,
            sent_errors: *counts.get(10)?,
        })
    };
    table
        .lines()
        .filter_map(one)
        .filter(|n| n.name != "lo")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let table = "Inter-|   Receive\n face |bytes    packets\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n";
        let read = network(table);
        assert_eq!(read.len(), 1);
        let eth0 = &read[0];
        assert_eq!(
            (eth0.name.as_str(), eth0.received_bytes, eth0.sent_errors),
            ("eth0", 100, 5)
        );
        let info = Lines("MemTotal:  10 kB\nMemFree: 1 kB\nMemAvailable:  7 kB\n".to_owned());
        assert_eq!((info.kib("MemAvailable:"), info.kib("MemAvail")), (7168, 0));
        let io = io("254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0\nbroken\n");
        assert_eq!(io.usage.len(), 1);
        assert_eq!((io.usage[0].major, io.usage[0].wios), (254, 4));
    }
}
