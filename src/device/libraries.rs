//! NVIDIA's libraries, looked for when a GPU is asked for and not when the program starts: the
//! binary with CUDA runs on machines that have none of them.
//!
//! Candle has their functions linked in. Those that are called are defined here, each as a jump
//! to where its library has it: of several definitions lld takes the first, and leaves out a
//! library that nothing is taken from. GNU's ld keeps it, so that what it links needs the
//! libraries to start. So does a program that calls a function which is missing here; it works
//! all the same, and `tests/cuda` sees it. CUDA's runtime is another matter: it is linked
//! statically (`build.rs`), for it is called before `main`.

use libloading::Library;
use std::arch::naked_asm;
use std::error::Error;
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

type Place = AtomicPtr<c_void>;
type Functions = &'static [(&'static str, &'static Place)];

/// Functions with the C ABI whose arguments and answers pass through untouched.
macro_rules! functions {
    ($all:ident: $($name:ident)*) => {
        $(
            #[expect(non_snake_case, reason = "the name that the linker looks for")]
            mod $name {
                pub static PLACE: super::Place = super::Place::new(super::unknown as *mut _);

                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                extern "C" fn $name() {
                    #[cfg(target_arch = "x86_64")]
                    super::naked_asm!("jmp qword ptr [rip + {place}]", place = sym PLACE);
                    #[cfg(target_arch = "aarch64")]
                    super::naked_asm!(
                        "adrp x16, {place}",
                        "ldr x16, [x16, :lo12:{place}]",
                        "br x16",
                        place = sym PLACE
                    );
                }
            }
        )*
        const $all: Functions = &[$((stringify!($name), &$name::PLACE)),*];
    };
}

functions! { DRIVER:
    cuCtxDestroy_v2 cuCtxGetCurrent cuCtxSetCurrent cuCtxSynchronize cuDeviceGet
    cuDeviceGetAttribute cuDeviceGetDefaultMemPool cuDeviceGetName cuDevicePrimaryCtxRelease_v2
    cuDevicePrimaryCtxRetain cuDriverGetVersion cuEventCreate cuEventDestroy_v2 cuEventRecord
    cuFuncSetAttribute cuGetErrorString cuInit cuLaunchKernel cuMemAllocAsync cuMemAlloc_v2
    cuMemFreeAsync cuMemFree_v2 cuMemGetInfo_v2 cuMemPoolGetAttribute cuMemPoolSetAttribute
    cuMemcpyDtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoDAsync_v2 cuMemcpyPeerAsync
    cuMemsetD8Async cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleUnload
    cuStreamCreate cuStreamDestroy_v2 cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent
}
functions! { PRODUCTS:
    cublasCreate_v2 cublasDestroy_v2 cublasDgemmStridedBatched cublasGemmStridedBatchedEx
    cublasSetStream_v2
}
functions! { RANDOM:
    curandCreateGenerator curandDestroyGenerator curandSetPseudoRandomGeneratorSeed
    curandSetStream
}

const DRIVERS: &str = "it comes with NVIDIA's driver";
const TOOLKITS: &str = "CUDA 13 has it, and PyTorch's wheels in site-packages/nvidia/cu13/lib: \
                        put that folder on LD_LIBRARY_PATH";

/// By file, with its functions and where it comes from.
const LIBRARIES: [(&str, Functions, &str); 3] = [
    ("libcuda.so.1", DRIVER, DRIVERS),
    ("libcublas.so.13", PRODUCTS, TOOLKITS),
    ("libcurand.so.10", RANDOM, TOOLKITS),
];

/// Where a function leads until its library is found. Nothing calls one before [`load`].
extern "C" fn unknown() {
    eprintln!("a function of CUDA was called before its library was looked for");
    std::process::abort();
}

/// Finds every library, once; the error names the first that is missing and where to get it.
pub fn load() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let all =
        || LIBRARIES.iter().try_for_each(|(file, functions, from)| find(file, functions, from));
    FOUND.get_or_init(all).clone()
}

fn find(file: &str, functions: Functions, from: &str) -> Result<(), String> {
    // SAFETY: what NVIDIA's libraries do when they are loaded asks nothing of the program.
    let library = unsafe { Library::new(file) };
    let library = library.map_err(|error| format!("{}; {from}", loaders(&error)))?;
    for (name, place) in functions {
        // SAFETY: the address alone is taken; cudarc calls it with its own declaration.
        let function = unsafe { library.get::<unsafe extern "C" fn()>(*name) };
        let function =
            function.map_err(|error| format!("{}; a newer {file} is needed", loaders(&error)))?;
        place.store(*function as *mut c_void, Ordering::Release);
    }
    // It stays for as long as the program.
    std::mem::forget(library);
    Ok(())
}

/// The loader's own words, which name the file.
fn loaders(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
