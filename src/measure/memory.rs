//! What the kernel says about memory (Linux; `None` elsewhere).

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

/// Memory that programs can still have without swapping.
pub fn free_memory() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

/// Starts every high-water mark anew.
pub fn reset_peaks() {
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
