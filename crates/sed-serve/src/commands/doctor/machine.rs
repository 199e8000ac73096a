//! The machine: device, instructions, threads, memory.

use std::thread::available_parallelism;

use candle_core::Device;
pub(super) use sed_engine::Memory;
use sed_model::device::{GpuMemory, NoGpu, cuda_libraries, gpu_memory};

use super::check::{Check, size};
use crate::args::ModelArgs;

/// Returns the available memory and its check. Memory that the system does not report counts as unlimited.
pub(super) fn memory() -> (Memory, Check) {
    const NAME: &str = "memory";
    let Some(memory) = Memory::now() else {
        let advice = "make sure by other means that there is enough for the model";
        let unknown = Memory { total: u64::MAX, available: u64::MAX, in_container: false };
        return (unknown, Check::warning(NAME, "the system does not tell", advice));
    };
    let whose = if memory.in_container { " in this container" } else { "" };
    let found = format!("{} available of {}{whose}", size(memory.available), size(memory.total));
    (memory, Check::good(NAME, found))
}

pub(super) fn checks(model: &ModelArgs) -> Vec<Check> {
    let mut checks = vec![device(model)];
    checks.extend(libraries());
    checks.extend([instructions(), threads(model.threads)]);
    checks
}

fn device(model: &ModelArgs) -> Check {
    const NAME: &str = "device";
    let devices = match model.devices() {
        Ok(devices) => devices,
        Err(error) => return Check::failed(NAME, error),
    };
    let mut found: Vec<String> =
        std::iter::once(&devices.first).chain(&devices.others).map(name_and_memory).collect();
    match devices.instead_of_gpu {
        Some(reason @ (NoGpu::DriverTooOld { .. } | NoGpu::Unusable { .. })) => {
            Check::warning(NAME, found.join("\n"), reason.to_string())
        }
        reason => {
            found.extend(reason.map(|reason| reason.to_string()));
            Check::good(NAME, found.join("\n"))
        }
    }
}

fn name_and_memory(device: &Device) -> String {
    let name = sed_engine::device_name(device);
    match gpu_memory(device) {
        Some(GpuMemory { free, total }) => format!("{name}, {} free of {}", size(free), size(total)),
        None => name,
    }
}

/// Checks the libraries that a GPU needs; `None` for a build that computes on the CPU alone.
fn libraries() -> Option<Check> {
    const NAME: &str = "cuda libraries";
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for library in cuda_libraries() {
        match library.found {
            Ok(path) => found.push(path),
            Err(reason) => missing.push(format!("{} is missing: {reason}", library.name)),
        }
    }
    match (found.is_empty(), missing.is_empty()) {
        (true, true) => None,
        (_, true) => Some(Check::good(NAME, found.join("\n"))),
        (_, false) => Some(Check::warning(
            NAME,
            missing.join("\n"),
            "without them no GPU is used; install what is missing, or ignore this on a machine without a GPU",
        )),
    }
}

/// Checks the instructions that the kernels have paths for.
fn instructions() -> Check {
    const NAME: &str = "instructions";
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx512, avx2) {
            (true, _) => Check::good(NAME, "x86-64 with avx-512"),
            (_, true) => Check::good(NAME, "x86-64 with avx2 and fma"),
            _ => Check::warning(
                NAME,
                "x86-64 without avx2",
                "it works, but several times slower; use a processor with avx2",
            ),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let found = format!("{}, by the portable kernels", std::env::consts::ARCH);
        Check::good(NAME, found)
    }
}

fn threads(asked: usize) -> Check {
    const NAME: &str = "threads";
    let cores = match available_parallelism() {
        Ok(cores) => cores.get(),
        Err(error) => return Check::warning(NAME, error.to_string(), "give their number with --threads"),
    };
    match asked {
        0 => Check::good(NAME, format!("{cores}, one for each core that this program may use")),
        asked if asked > cores => Check::warning(
            NAME,
            format!("{asked} on {cores} cores"),
            format!("more threads than cores get in each other's way; use --threads {cores} or fewer"),
        ),
        asked => Check::good(NAME, format!("{asked} of {cores} cores")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn more_threads_than_cores_are_a_warning() {
        let verdicts = [0, 1, 100_000].map(|asked| threads(asked).verdict);
        assert_eq!(verdicts, [Verdict::Good, Verdict::Good, Verdict::Warning]);
    }
}
