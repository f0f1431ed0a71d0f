//! The one binary on machines that have no driver, or no CUDA.

use super::skip::skip;
use std::path::Path;
use std::process::Command;

fn lra() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lra"))
}

/// Whether this binary has CUDA, with a line that says so if not.
fn has_cuda() -> bool {
    if !cfg!(feature = "cuda") {
        skip("this binary was built without CUDA");
    }
    cfg!(feature = "cuda")
}

/// That a GPU's functions are found at all, the other tests of this program show on a GPU.
#[test]
fn the_program_starts_without_nvidias_libraries() {
    if !has_cuda() {
        return;
    }
    let program = std::fs::read(env!("CARGO_BIN_EXE_lra")).unwrap();
    let lld = b"Linker: LLD";
    if !program.windows(lld.len()).any(|bytes| bytes == lld) {
        skip("another linker than lld keeps libraries that nothing is taken from");
        return;
    }
    // The loader's list of what it must find before `main`, as ldd asks for it.
    let output = lra().env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
    let needed = String::from_utf8(output.stdout).unwrap();
    assert!(needed.contains("libc.so"), "{needed}");
    for library in ["libcuda", "libcublas", "libcurand", "libnvrtc"] {
        assert!(!needed.contains(library), "{needed}");
    }
}

#[test]
fn a_missing_driver_is_named() {
    if !has_cuda() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("run");
    let mut command = lra();
    command.args(["run", "--model", "local", "--task", "listops", "--steps", "1"]);
    command.args(["--device", "cuda:0", "--out"]).arg(&out);
    let output = command.env_remove("LD_LIBRARY_PATH").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.success() || Path::new("/proc/driver/nvidia").exists() {
        skip("there is a driver here");
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["--device cuda:0", "libcuda.so.1", "NVIDIA's driver", "--device cpu"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!out.exists());
}
