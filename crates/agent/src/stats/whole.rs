//! Figures of a whole machine's guest, as if it were one container: its kernel keeps none for the uppermost group.

use trine_wire::agent::StatsResponse;
use trine_wire::metrics::{CpuStat, MemoryEvents, MemoryStat, Metrics, PidsStat};

use super::{Lines, of_guest};

/// Of a unit of time in /proc: 100 a second on every Linux.
const TICK_USEC: u64 = 10_000;

pub fn figures() -> StatsResponse {
    let info = Lines::at("/proc/meminfo");
    let counts = Lines::at("/proc/vmstat");
    of_guest(Metrics {
        pids: Some(PidsStat {
            current: tasks(&Lines::at("/proc/loadavg").0).unwrap_or(0),
            limit: 0,
        }),
        cpu: Some(cpu(&Lines::at("/proc/stat").0)),
        memory: Some(memory(&info, &counts)),
        memory_events: Some(MemoryEvents {
            oom_kill: counts.get("oom_kill"),
            ..MemoryEvents::default()
        }),
        ..Metrics::default()
    })
}

/// `0.00 0.01 0.05 RUNNING/ALL LAST`: threads, the kernel's own among them.
fn tasks(loadavg: &str) -> Option<u64> {
    let field = loadavg.split(' ').nth(3)?;
    field.split_once('/')?.1.parse().ok()
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`, all processors together.
fn cpu(stat: &str) -> CpuStat {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks: Vec<u64> = line
        .unwrap_or_default()
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let usec = |fields: &[usize]| {
        let of = |field: &usize| ticks.get(*field).copied().unwrap_or(0);
        let sum = fields.iter().map(of).fold(0, u64::saturating_add);
        sum.saturating_mul(TICK_USEC)
    };
    // User time holds what guests of the guest had.
    let (user, system) = (usec(&[0, 1]), usec(&[2, 5, 6]));
    CpuStat {
        usage_usec: user.saturating_add(system),
        user_usec: user,
        system_usec: system,
        ..CpuStat::default()
    }
}

fn memory(info: &Lines, counts: &Lines) -> MemoryStat {
    let total = info.kib("MemTotal:");
    MemoryStat {
        anon: info.kib("AnonPages:"),
        file: info.kib("Cached:").saturating_add(info.kib("Buffers:")),
        kernel_stack: info.kib("KernelStack:"),
        slab: info.kib("Slab:"),
        shmem: info.kib("Shmem:"),
        file_mapped: info.kib("Mapped:"),
        file_dirty: info.kib("Dirty:"),
        file_writeback: info.kib("Writeback:"),
        inactive_anon: info.kib("Inactive(anon):"),
        active_anon: info.kib("Active(anon):"),
        inactive_file: info.kib("Inactive(file):"),
        active_file: info.kib("Active(file):"),
        unevictable: info.kib("Unevictable:"),
        slab_reclaimable: info.kib("SReclaimable:"),
        slab_unreclaimable: info.kib("SUnreclaim:"),
        pgfault: counts.get("pgfault"),
        pgmajfault: counts.get("pgmajfault"),
        usage: total.saturating_sub(info.kib("MemFree:")),
        usage_limit: total,
        swap_usage: info.kib("SwapTotal:").saturating_sub(info.kib("SwapFree:")),
        swap_limit: info.kib("SwapTotal:"),
        ..MemoryStat::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_figures_are_read() {
        assert_eq!(tasks("0.14 0.22 0.20 2/143 5123\n"), Some(143));
        assert_eq!(tasks("broken"), None);
        let read = cpu("cpu  10 2 5 900 30 1 4 0 3 0\ncpu0 10 2 5 900 30 1 4 0 3 0\n");
        assert_eq!(
            (read.usage_usec, read.user_usec, read.system_usec),
            (220_000, 120_000, 100_000)
        );
        let info = "MemTotal: 100 kB\nMemFree:   40 kB\nBuffers:  3 kB\nCached:  20 kB\nInactive(file): 9 kB\n";
        let read = memory(
            &Lines(info.to_owned()),
            &Lines("pgfault 7\npgmajfault 1\n".to_owned()),
        );
        assert_eq!(
            (read.usage, read.usage_limit, read.file, read.inactive_file),
            (61_440, 102_400, 23_552, 9216)
        );
        assert_eq!((read.pgfault, read.pgmajfault), (7, 1));
    }
}
