//! The machine and the binary, as every record names them.

use super::{date, gpu, memory};
use crate::records::Environment;
use candle_core::{DType, Device, DeviceLocation};
use std::fs;

/// The git hash of the source this binary was built from, `-dirty` when that had changes.
const GIT: Option<&str> = option_env!("LRA_GIT");

/// Whether f32 products on a GPU are rounded to TF32: Candle's switch is left off.
const TF32: bool = false;

/// What is known when a run starts.
pub fn observe(device: &Device, dtype: DType, threads: usize) -> Environment {
    let gpu = gpu(device);
    Environment {
        lra: version(),
        git: GIT.map(str::to_owned),
        os: os(),
        cpu: read("/proc/cpuinfo")
            .and_then(|text| cpu_model(&text))
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        instructions: Some(instructions().to_owned()),
        // What this process may use, which a container or an affinity mask can lower.
        cores: std::thread::available_parallelism().map_or(1, |n| count(n.get())),
        threads: count(threads),
        load: read("/proc/loadavg").and_then(|text| one_minute_load(&text)),
        memory_bytes: memory::total_memory(),
        device: match device.location() {
            DeviceLocation::Cpu => "cpu".to_owned(),
            DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
            DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        },
        tf32: gpu.as_ref().map(|_| TF32),
        gpu_driver: gpu.as_ref().map(|gpu| gpu.driver.clone()),
        gpu: gpu.map(|gpu| gpu.name),
        dtype: dtype.as_str().to_owned(),
        started: date::now(),
        ..Environment::default()
    }
}

/// This program's version, with the git hash of its source where there was one.
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    GIT.map_or_else(|| version.to_owned(), |git| format!("{version} ({git})"))
}

/// What rounding follows from beside the name, which many processors share: the widest vector
/// instructions that kernels are written for, and the caches that products are cut by.
pub fn cpu_kind() -> String {
    let caches: Vec<String> = (0..8).filter_map(cache).collect();
    format!("{}; {}", instructions(), caches.join(", "))
}

fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512f";
        }
        if std::arch::is_x86_feature_detected!("fma") {
            return "avx2 fma";
        }
    }
    std::env::consts::ARCH
}

/// `L2 1024K`; `None` for what holds no data, or where the system (Linux) does not tell.
fn cache(index: usize) -> Option<String> {
    let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
    let read = |name| std::fs::read_to_string(format!("{folder}/{name}")).ok();
    let (level, kind, size) = (read("level")?, read("type")?, read("size")?);
    (kind.trim() != "Instruction").then(|| format!("L{} {}", level.trim(), size.trim()))
}

/// Sets the end of the run.
pub fn finish(environment: &mut Environment) {
    environment.finished = date::now();
}

fn read(path: &str) -> Option<String> {
    // Not all of /proc promises UTF-8.
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// `Debian GNU/Linux 12 (bookworm), Linux 6.1.0, x86_64`, as far as it is known.
fn os() -> String {
    let distribution = read("/etc/os-release").and_then(|text| distribution(&text));
    let kernel = read("/proc/sys/kernel/osrelease").map(|release| {
        format!("{} {}", read("/proc/sys/kernel/ostype").unwrap_or_default().trim(), release.trim())
    });
    let kernel = kernel.unwrap_or_else(|| std::env::consts::OS.to_owned());
    let parts = [distribution, Some(kernel), Some(std::env::consts::ARCH.to_owned())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn distribution(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = value.trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, name) = fields.find(|(key, _)| matches!(key.trim(), "model name" | "Model"))?;
    // Names are padded and spaced by their makers.
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

fn one_minute_load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok().filter(|load: &f64| load.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_texts() {
        let intel = "processor\t: 0\nmodel\t\t: 143\nmodel name\t: Intel(R)  Xeon(R) 8481C\n";
        assert_eq!(cpu_model(intel).as_deref(), Some("Intel(R) Xeon(R) 8481C"));
        let raspberry = "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4\n";
        assert_eq!(cpu_model(raspberry).as_deref(), Some("Raspberry Pi 4"));
        assert_eq!(cpu_model("model name\t:  \n"), None);
        assert_eq!(cpu_model(""), None);
        assert_eq!(one_minute_load("0.52 0.58 0.59 1/389 12345\n"), Some(0.52));
        assert_eq!(one_minute_load("nan 1 1"), None);
        assert_eq!(one_minute_load(""), None);
        let debian = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(distribution(debian).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(distribution("PRETTY_NAME=\"\"\n"), None);
    }

    #[test]
    fn this_machine() {
        let mut seen = observe(&Device::Cpu, DType::F32, 3);
        assert_eq!((seen.device.as_str(), seen.dtype.as_str(), seen.threads), ("cpu", "f32", 3));
        assert!(seen.lra.starts_with(env!("CARGO_PKG_VERSION")) && seen.cores > 0);
        assert!(seen.os.ends_with(std::env::consts::ARCH) && !seen.cpu.is_empty());
        assert_eq!((seen.started.len(), seen.finished.as_str()), (20, ""));
        finish(&mut seen);
        assert!(seen.finished >= seen.started);
    }
}
