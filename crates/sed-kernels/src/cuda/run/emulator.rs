//! Runs launches on the CPU (see `cuda/emulator/emulator.h`).

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Result, bail};

use crate::cuda::launch::{Arg, Launch};

static ON: AtomicBool = AtomicBool::new(false);

/// From now on in this process, layers made of CPU tensors are those of CUDA, run by the emulator: a test
/// of the whole path without a GPU. Very slow.
pub fn emulate_cuda(on: bool) {
    ON.store(on, Ordering::SeqCst);
}

/// Reports whether the CUDA kernels compute on CPU tensors.
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::SeqCst)
}

/// `SedArgument` of emulator.h.
#[repr(C)]
struct Argument {
    kind: u32,
    element_bytes: u32,
    written: u32,
    unused: u32,
    bytes: u64,
    value: u64,
}

unsafe extern "C" {
    fn sed_emulator_launch(
        name: *const c_char,
        grid: *const c_uint,
        block: *const c_uint,
        shared_bytes: c_uint,
        arguments: *const Argument,
        count: c_uint,
        message: *mut c_char,
        message_bytes: c_uint,
    ) -> c_int;
}

impl From<Arg> for Argument {
    fn from(arg: Arg) -> Self {
        let number = |kind, value| Self { kind, element_bytes: 0, written: 0, unused: 0, bytes: 0, value };
        match arg {
            Arg::Pointer { address, bytes, element, written } => Self {
                kind: 0,
                element_bytes: element as u32,
                written: u32::from(written),
                unused: 0,
                bytes: bytes as u64,
                value: address,
            },
            Arg::I32(value) => number(1, u64::from(value.cast_unsigned())),
            Arg::I64(value) => number(2, value.cast_unsigned()),
            Arg::F32(value) => number(3, u64::from(value.to_bits())),
        }
    }
}

/// Runs `launch`, whose pointers are into memory of this process. Fails when the kernel's parameters are
/// others, its threads diverge at a barrier, or it writes outside its outputs.
pub(super) fn run(launch: &Launch) -> Result<()> {
    let name = CString::new(launch.kernel.as_str()).map_err(candle_core::Error::wrap)?;
    let sizes = |sizes: [usize; 3]| sizes.map(|size| size as c_uint);
    let (grid, block) = (sizes(launch.grid), sizes(launch.block));
    let arguments: Vec<Argument> = launch.args.iter().map(|&arg| arg.into()).collect();
    let mut message: [c_char; 256] = [0; 256];
    // SAFETY: the pointers are to arrays of the stated lengths; the kernel's own pointers are checked by the
    // emulator against the lengths that the arguments state, which are those of live tensors.
    let status = unsafe {
        sed_emulator_launch(
            name.as_ptr(),
            grid.as_ptr(),
            block.as_ptr(),
            launch.shared_bytes as c_uint,
            arguments.as_ptr(),
            arguments.len() as c_uint,
            message.as_mut_ptr(),
            message.len() as c_uint,
        )
    };
    if status != 0 {
        // SAFETY: the emulator ends its message with a zero byte inside the array.
        let reason = unsafe { CStr::from_ptr(message.as_ptr()) };
        bail!("emulating {}: {}", launch.kernel, reason.to_string_lossy());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::cuda::memory::Output;

    fn launch(kernel: &str) -> Launch {
        Launch::new(kernel, DType::F32, [2, 1, 1], 64).unwrap()
    }

    fn output() -> Output {
        Output::new(&Device::Cpu, DType::F32, 128).unwrap()
    }

    fn reason(launch: &Launch) -> String {
        run(launch).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_of_kernels_are_found() {
        let mut y = output();
        let behind = launch("fault_write_behind").output(&mut y).unwrap().i32(128).unwrap();
        assert!(reason(&behind).contains("outside a buffer"));
        let x = Tensor::zeros(128, DType::F32, &Device::Cpu).unwrap();
        let input = launch("fault_write_input").input(&x).unwrap().output(&mut y).unwrap();
        assert!(reason(&input).contains("write to an input"));
        assert!(
            reason(&launch("fault_barrier").output(&mut y).unwrap()).contains("not all threads of a block")
        );
        assert!(reason(&launch("fault_lanes").output(&mut y).unwrap()).contains("not all lanes of a warp"));
        let shared = launch("fault_write_behind_shared").output(&mut y).unwrap();
        assert!(reason(&shared).contains("behind a shared array"));
        run(&launch("fault_no_barrier").output(&mut y).unwrap()).unwrap();
        let values = y.into_tensor().to_vec1::<f32>().unwrap();
        assert!(values.iter().any(|value| value.is_nan()));
        let mut y = output();
        run(&launch("fault_no_wait").input(&x).unwrap().output(&mut y).unwrap()).unwrap();
        assert!(y.into_tensor().to_vec1::<f32>().unwrap().iter().all(|value| value.is_nan()));
    }

    #[test]
    fn arguments_that_are_not_the_kernels_are_refused() {
        let x = Tensor::zeros(128, DType::F32, &Device::Cpu).unwrap();
        let mut y = output();
        let sigmoid = || launch("sigmoid").input(&x).unwrap();
        let counted = |launch: Launch| launch.optional(None).unwrap().i32(0).unwrap();
        run(&counted(sigmoid().output(&mut y).unwrap().i64(128))).unwrap();
        assert!(reason(&sigmoid().output(&mut y).unwrap()).contains("takes 5 arguments"));
        assert!(reason(&counted(sigmoid().input(&x).unwrap().i64(128))).contains("argument 1: an input"));
        let narrow = counted(sigmoid().output(&mut y).unwrap().i32(128).unwrap());
        assert!(reason(&narrow).contains("argument 2: a number"));
        let half = x.to_dtype(DType::BF16).unwrap();
        let wrong = counted(launch("sigmoid").input(&half).unwrap().output(&mut y).unwrap().i64(128));
        assert!(reason(&wrong).contains("argument 0: elements of another size"));
        assert!(reason(&launch("none")).contains("no such kernel"));
    }
}
