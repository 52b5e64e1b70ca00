//! CPU time and memory of the measured server's processes, as the kernel counts them. Zero where there is no /proc.

/// Clock ticks a second in /proc/<pid>/stat: `USER_HZ`, which is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of all processes, seconds. Processes that are gone count nothing.
pub(crate) fn cpu_seconds(pids: &[u32]) -> f64 {
    let stat = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat"));
    pids.iter().filter_map(|pid| stat(pid).ok()).filter_map(|stat| parse_cpu_seconds(&stat)).sum()
}

/// Peak resident memory of all processes, bytes.
pub(crate) fn peak_bytes(pids: &[u32]) -> u64 {
    let status = |pid| std::fs::read_to_string(format!("/proc/{pid}/status"));
    pids.iter().filter_map(|pid| status(pid).ok()).filter_map(|status| parse_peak_bytes(&status)).sum()
}

/// `utime` and `stime`, the 14th and 15th field. The second one is the program's name in parentheses, which may hold spaces
/// and parentheses itself.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn parse_peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_user_and_system_time() {
        let stat = "42 (pharos) S 1 42 42 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 9 0 100 1 2";
        assert_eq!(parse_cpu_seconds(stat), Some(3.0));
    }

    #[test]
    fn a_program_name_may_hold_spaces_and_parentheses() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 900 0 0 0 100 0 0 0 20";
        assert_eq!(parse_cpu_seconds(stat), Some(1.0));
    }

    #[test]
    fn a_short_stat_has_no_cpu_time() {
        assert_eq!(parse_cpu_seconds("42 (pharos) S 1"), None);
        assert_eq!(parse_cpu_seconds(""), None);
    }

    #[test]
    fn peak_memory_is_the_high_water_mark() {
        let status = "Name:\tpharos\nVmPeak:\t  9000 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(parse_peak_bytes(status), Some(2_097_152));
    }

    #[test]
    fn a_process_that_is_gone_counts_nothing() {
        assert_eq!(cpu_seconds(&[u32::MAX]), 0.0);
        assert_eq!(peak_bytes(&[u32::MAX]), 0);
    }
}
