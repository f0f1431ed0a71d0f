//! What the kernel says about memory (Linux; `None` elsewhere).

use candle_core::Device;
use rustix::process::{Resource, getrlimit};
use std::path::{Path, PathBuf};

/// The most resident memory (`VmHWM`) since the start or the last [`reset_peak_resident`].
pub fn peak_resident() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// Resident memory at present (`VmRSS`).
pub fn resident() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

/// Starts the high-water mark anew; `false` where the kernel does not allow it, and then
/// [`peak_resident`] is the peak since the process started.
pub fn reset_peak_resident() -> bool {
    // "5" means: reset the peak resident set size (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Memory of the machine; a container's limit may be lower.
pub fn total_memory() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")
}

/// Memory that this process can still have without swapping: of the machine, and within the
/// limits of its control group and of its own address space.
pub fn free_memory() -> Option<u64> {
    let machine = kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable");
    [machine, free_in_group(), free_address_space()].into_iter().flatten().min()
}

/// What the control group (version 2) and those around it leave.
fn free_in_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let inside = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let number = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let free = |group: &Path| {
        // `max` where there is no limit, which is no number.
        let most = number(group.join("memory.max"))?;
        let used = number(group.join("memory.current"))?;
        // Pages of files are given up when programs need the room.
        let stat = std::fs::read_to_string(group.join("memory.stat")).ok()?;
        let files = stat.lines().find_map(|line| line.strip_prefix("file ")?.parse::<u64>().ok());
        Some(most.saturating_sub(used.saturating_sub(files.unwrap_or(0))))
    };
    let group = root.join(inside);
    group.ancestors().take_while(|group| group.starts_with(root)).filter_map(free).min()
}

/// What RLIMIT_AS (`ulimit -v`) leaves.
fn free_address_space() -> Option<u64> {
    let most = getrlimit(Resource::As).current?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(most.saturating_sub(kibibytes(&status, "VmSize")?))
}

/// Starts every high-water mark anew.
pub fn reset_peaks(device: &Device) {
    super::reset_peak_pool(device);
    super::reset_peak_live();
    reset_peak_resident();
}

/// `VmHWM:    1234 kB` as bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let number = rest.trim().strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Name:\tlra\nVmHWMore:\t1 kB\nVmPeak:\t  900 kB\nVmHWM:\t    1234 kB\n";
        assert_eq!(kibibytes(text, "VmHWM"), Some(1234 * 1024));
        assert_eq!(kibibytes(text, "VmRSS"), None);
        assert_eq!(kibibytes("MemTotal:       16384 kB", "MemTotal"), Some(16 << 20));
        for odd in ["VmHWM:", "VmHWM: kB", "VmHWM: 12", "VmHWM: -1 kB", "VmHWM: 9e9 kB", ""] {
            assert_eq!(kibibytes(odd, "VmHWM"), None, "{odd}");
        }
        assert_eq!(kibibytes(&format!("VmHWM: {} kB", u64::MAX), "VmHWM"), None);
    }

    /// Other tests of this process allocate meanwhile, so the bounds are wide.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_follows_a_large_block_and_can_be_reset() {
        const BLOCK: usize = 256 << 20;
        let block = std::hint::black_box(vec![1u8; BLOCK]);
        let during = peak_resident().unwrap();
        assert!(during > BLOCK as u64, "{during}");
        drop(block);
        if reset_peak_resident() {
            let after = peak_resident().unwrap();
            assert!(after + (BLOCK as u64 / 2) < during, "{after} {during}");
        } else {
            println!("skipped: this kernel does not let a process reset VmHWM");
        }
        assert!(total_memory().unwrap() > during);
    }
}
