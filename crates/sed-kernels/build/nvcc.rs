//! Compiles every `cuda/*.cu` with nvcc to one file of machine code for all GPUs, and lists the files in
//! `$OUT_DIR/images.rs` for the program to carry.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::error::Error;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Machine code for Ampere (A100; the others), Ada and Hopper, Blackwell; and for newer GPUs the last one's PTX,
/// which the driver compiles.
const CAPABILITIES: [&str; 5] = ["80", "86", "89", "90", "100"];
/// Other ones, comma-separated: fewer compile faster while a kernel is being written.
const CAPABILITIES_VARIABLE: &str = "SED_CUDA_CAPABILITIES";
const FOLDER: &str = "cuda";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Compiles what has changed since the last time.
pub(crate) fn compile() -> Outcome<()> {
    for variable in ["CUDA_HOME", CAPABILITIES_VARIABLE] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed={FOLDER}");
    let Some(nvcc) = find_nvcc() else {
        println!(
            "cargo::error=the feature `cuda` needs nvcc, the CUDA compiler, and there is none in $CUDA_HOME/bin, \
             on the PATH or in /usr/local/cuda/bin; run `eval \"$(deploy/cuda/toolkit)\"` in this shell, which \
             fetches it (no GPU is needed to build), or install the CUDA toolkit 13.0"
        );
        return Ok(());
    };
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let chosen = env::var(CAPABILITIES_VARIABLE).unwrap_or_else(|_| CAPABILITIES.join(","));
    let flags = flags(&chosen)?;
    let (mut kernels, mut headers) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(FOLDER).into_iter().flatten() {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("cu") => kernels.push(path),
            Some("cuh" | "h") => headers.push(path),
            _ => {}
        }
    }
    kernels.sort();
    headers.sort();
    let shared = digest(&headers, &(&nvcc, &flags))?;
    compile_all(&kernels, |source| compile_one(&nvcc, &flags, source, &out, shared))?;
    let line = |source: &PathBuf| format!("include_bytes!({:?}).as_slice(),\n", image(&out, source));
    let images: String = kernels.iter().map(line).collect();
    Ok(fs::write(out.join("images.rs"), format!("[{images}]"))?)
}

fn find_nvcc() -> Option<PathBuf> {
    let home = env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = home.into_iter().chain(env::split_paths(&path)).chain(["/usr/local/cuda/bin".into()]);
    folders.map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file())
}

fn flags(capabilities: &str) -> Outcome<Vec<String>> {
    let capabilities: Vec<&str> = capabilities.split(',').map(str::trim).collect();
    let mut flags: Vec<String> =
        ["--fatbin", "-std=c++17", "-O3", "--expt-relaxed-constexpr"].map(String::from).into();
    for capability in &capabilities {
        if capability.parse::<u32>().is_err() {
            return Err(format!("{CAPABILITIES_VARIABLE} has `{capability}`; expected 80, 90, ...").into());
        }
        flags.push(format!("-gencode=arch=compute_{capability},code=sm_{capability}"));
    }
    let last = capabilities.last().copied().unwrap_or_default();
    flags.push(format!("-gencode=arch=compute_{last},code=compute_{last}"));
    Ok(flags)
}

/// Compiles on as many threads as cargo grants.
fn compile_all(sources: &[PathBuf], compile: impl Fn(&Path) -> Result<(), String> + Sync) -> Outcome<()> {
    let threads = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let next = AtomicUsize::new(0);
    let (failed, failures) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (failed, next, compile) = (failed.clone(), &next, &compile);
            scope.spawn(move || {
                while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The receiver outlives the scope.
                    let _ = compile(source).map_err(|error| failed.send(error));
                }
            });
        }
    });
    drop(failed);
    let failures: Vec<String> = failures.iter().collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn compile_one(nvcc: &Path, flags: &[String], source: &Path, out: &Path, shared: u64) -> Result<(), String> {
    let image = image(out, source);
    let stamp = image.with_extension("stamp");
    let of_source = digest(&[source.to_owned()], &shared).map_err(|error| error.to_string())?.to_string();
    if image.exists() && fs::read_to_string(&stamp).is_ok_and(|held| held == of_source) {
        return Ok(());
    }
    let output = Command::new(nvcc).args(flags).arg("-o").arg(&image).arg(source).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", nvcc.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("nvcc does not compile {}:\n{said}", source.display()));
    }
    fs::write(&stamp, of_source).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}

/// Path of a kernel's machine code in the folder `out`.
fn image(out: &Path, source: &Path) -> PathBuf {
    out.join(source.file_name().unwrap_or_default()).with_extension("fatbin")
}

/// Hash of the files' contents and of `other`.
fn digest(files: &[PathBuf], other: &impl Hash) -> std::io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    other.hash(&mut hasher);
    for file in files {
        fs::read(file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
