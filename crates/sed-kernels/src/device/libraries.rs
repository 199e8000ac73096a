//! The shared libraries of CUDA, as the shims that this program is linked with look for them (`deploy/cuda/shims.py`).

use std::env;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::path::Path;

use super::CudaLibrary;

/// Folders that are searched before all others, separated by colons.
const FOLDERS_VARIABLE: &str = "SED_CUDA_LIBRARIES";
/// Folders of a toolkit that the dynamic linker may not know, searched last.
const TOOLKIT_FOLDERS: [&str; 2] = ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"];

/// A library: its file names, in the order of preference, and a function that it must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Library {
    files: &'static [&'static str],
    function: &'static CStr,
    remedy: &'static str,
}

pub(super) const CUDA: Library = Library {
    files: &["libcuda.so.1"],
    function: c"cuInit",
    remedy: "it comes with the NVIDIA driver; in a container, with the NVIDIA container toolkit",
};
pub(super) const CUBLAS: Library = Library {
    files: &["libcublas.so.13", "libcublas.so.12"],
    function: c"cublasGemmStridedBatchedEx",
    remedy: "install cuBLAS of CUDA 13 or 12, or name its folder in SED_CUDA_LIBRARIES",
};
pub(super) const CUBLASLT: Library = Library {
    files: &["libcublasLt.so.13", "libcublasLt.so.12"],
    function: c"cublasLtMatmul",
    remedy: CUBLAS.remedy,
};
pub(super) const CURAND: Library = Library {
    files: &["libcurand.so.10"],
    function: c"curandCreateGenerator",
    remedy: "install cuRAND of CUDA 12 or 13, or name its folder in SED_CUDA_LIBRARIES",
};

/// All of them, and whether each is there.
pub(super) fn all() -> Vec<CudaLibrary> {
    let report = |library: Library| CudaLibrary { name: library.files[0], found: library.find() };
    [CUDA, CUBLAS, CUBLASLT, CURAND].map(report).into()
}

impl Library {
    /// The path of the library, which stays loaded; or why there is none.
    pub(super) fn find(&self) -> Result<String, String> {
        let mut said = Vec::new();
        for file in self.files {
            // A folder without the file explains nothing.
            for path in paths(file).filter(|path| !path.contains('/') || Path::new(path).exists()) {
                match self.load(&path) {
                    Ok(path) => return Ok(path),
                    Err(reason) => said.push(reason),
                }
            }
        }
        Err(format!("{} ({})", said.join("; "), self.remedy))
    }

    /// The reason why the library is missing; empty if it is there.
    pub(super) fn why_missing(&self) -> String {
        self.find().err().unwrap_or_default()
    }

    fn load(&self, path: &str) -> Result<String, String> {
        let name = CString::new(path).map_err(|error| error.to_string())?;
        // SAFETY: the libraries that are named here have no initialisers with side effects on this program; the
        // strings end with a zero byte; `dladdr` writes the structure when it returns non-zero.
        unsafe {
            let handle = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
            if handle.is_null() {
                return Err(last_error());
            }
            let function = libc::dlsym(handle, self.function.as_ptr());
            if function.is_null() {
                return Err(last_error());
            }
            let mut info = MaybeUninit::<libc::Dl_info>::uninit();
            if libc::dladdr(function, info.as_mut_ptr()) == 0 {
                return Ok(path.to_owned());
            }
            Ok(CStr::from_ptr(info.assume_init().dli_fname).to_string_lossy().into_owned())
        }
    }
}

/// The names that are tried for a file, in the shims' order.
fn paths(file: &str) -> impl Iterator<Item = String> + '_ {
    let first = env::var(FOLDERS_VARIABLE).unwrap_or_default();
    let first: Vec<String> = first.split(':').filter(|folder| !folder.is_empty()).map(String::from).collect();
    let home = env::var("CUDA_HOME").ok().filter(|home| !home.is_empty()).map(|home| format!("{home}/lib64"));
    let last = home.into_iter().chain(TOOLKIT_FOLDERS.map(String::from));
    let in_folder = move |folder: String| format!("{folder}/{file}");
    let linker = std::iter::once(file.to_owned());
    first.into_iter().map(in_folder).chain(linker).chain(last.map(in_folder))
}

/// The dynamic linker's message about its last failure.
fn last_error() -> String {
    // SAFETY: the string belongs to this thread until its next call of the dynamic linker.
    unsafe {
        let said = libc::dlerror();
        if said.is_null() {
            return "unknown error of the dynamic linker".to_owned();
        }
        CStr::from_ptr(said).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_explained_with_its_remedy() {
        let library = Library { files: &["libsed-none.so.1"], function: c"none", remedy: "install it" };
        let error = library.find().unwrap_err();
        assert!(error.starts_with("libsed-none.so.1: cannot open shared object file"), "{error}");
        assert!(error.ends_with("(install it)"), "{error}");
    }

    #[test]
    fn a_library_without_the_function_does_not_count() {
        let library = Library { files: &["libc.so.6"], function: c"cuInit", remedy: "" };
        assert!(library.find().unwrap_err().contains("undefined symbol: cuInit"));
        let library = Library { files: &["libsed-none.so.1", "libc.so.6"], function: c"strlen", remedy: "" };
        assert!(library.find().unwrap().contains("libc.so.6"));
    }
}
