//! Tells the program the git hash of its source, for its records. Without git, or outside
//! of a checkout (a release tarball, a vendored copy), it goes without; that never fails.
//! With the feature `cuda` it compiles the kernels, for which nvcc is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the binary is made of: a change elsewhere does not make it `-dirty`.
const SOURCES: [&str; 5] = ["src", "tasks", "Cargo.toml", "Cargo.lock", "build.rs"];

fn main() {
    for source in SOURCES {
        watch(Path::new(source));
    }
    if let Some(root) = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)
        && let Some(hash) = hash(&root)
    {
        println!("cargo:rustc-env=LRA_GIT={hash}");
    }
    #[cfg(feature = "cuda")]
    if let Err(error) = kernels() {
        println!("cargo:error=CUDA kernels: {error}");
    }
}

/// A watched path that is missing would make every build run this again.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

fn hash(root: &Path) -> Option<String> {
    // A source folder inside somebody else's repository must not take that one's hash.
    let top = PathBuf::from(git(root, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // Where HEAD points moves with a checkout, and what it points at with a commit.
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in [Some("HEAD"), Some("packed-refs"), branch.as_deref()].into_iter().flatten() {
        if let Some(path) = git(root, &["rev-parse", "--git-path", name]) {
            watch(&root.join(path));
        }
    }
    let hash = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(SOURCES.iter().filter(|source| root.join(source).exists()));
    let dirty = if git(root, &status)?.is_empty() { "" } else { "-dirty" };
    Some(format!("{hash}{dirty}"))
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // Set inside git's hooks, where they name another repository or a half-made index.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    // Reading the status must not rewrite the index under somebody's feet.
    let run = command.arg("--no-optional-locks").args(arguments).current_dir(root).output().ok()?;
    run.status.success().then_some(())?;
    Some(String::from_utf8(run.stdout).ok()?.trim().to_owned())
}

/// Compiles the CUDA kernels for the GPU that is here, or for `CUDA_COMPUTE_CAP`.
#[cfg(feature = "cuda")]
fn kernels() -> Result<(), String> {
    let folder = Path::new("src/ops/cuda/kernels");
    watch(folder);
    println!("cargo:rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let said = |error: cudaforge::Error| error.to_string();
    let architecture = cudaforge::detect_compute_cap().map_err(said)?.base();
    let toolkit = cudaforge::CudaToolkit::detect().map_err(said)?;
    link_runtime(&toolkit.lib_dir);
    let nvcc = toolkit.nvcc_path;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // Files with many kernels are compiled once for each type, beside each other.
    let all = ["attention", "blocks", "extra", "few", "kernel", "rows", "optimiser", "sort"];
    let halves = ["attention", "extra"];
    let jobs = halves.map(|name| (name, true)).into_iter().chain(all.map(|name| (name, false)));
    let mut running = Vec::new();
    for (name, half) in jobs {
        let (suffix, define) = if half { ("_bf16", Some("-DBF16")) } else { ("", None) };
        let image = out.join(format!("{name}{suffix}.fatbin"));
        let stamp = out.join(format!("{name}{suffix}.stamp"));
        let made_of = made_of(folder, name, architecture)?;
        // Minutes for what has not changed.
        if image.exists() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == made_of) {
            continue;
        }
        let mut command = Command::new(&nvcc);
        command.args(["-std=c++17", "-O3", "-fatbin"]);
        command.arg(format!(
            "-gencode=arch=compute_{architecture},code=[sm_{architecture},compute_{architecture}]"
        ));
        command.args(define).arg(folder.join(format!("{name}.cu"))).arg("-o").arg(image);
        let child = command.spawn().map_err(|error| format!("{}: {error}", nvcc.display()))?;
        running.push((name, stamp, made_of, child));
    }
    for (name, stamp, made_of, mut child) in running {
        let status = child.wait().map_err(|error| format!("nvcc: {error}"))?;
        if !status.success() {
            return Err(format!("nvcc could not compile {name}.cu ({status})"));
        }
        std::fs::write(stamp, made_of).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// candle-kernels asks for the shared runtime, and its code calls it before `main`. With the
/// static one ahead of it the program starts where there is none.
#[cfg(feature = "cuda")]
fn link_runtime(folder: &Path) {
    if folder.join("libcudart_static.a").exists() {
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=static=cudart_static");
    }
}

/// A hash of a kernel's source, of all headers, and of the architecture.
#[cfg(feature = "cuda")]
fn made_of(folder: &Path, name: &str, architecture: usize) -> Result<String, String> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.extension().is_some_and(|end| end == "cuh") || path.file_stem() == Some(name.as_ref())
    });
    files.sort();
    let mut hash = DefaultHasher::new();
    architecture.hash(&mut hash);
    for path in files {
        std::fs::read(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?
            .hash(&mut hash);
    }
    Ok(format!("{:x}", hash.finish()))
}
