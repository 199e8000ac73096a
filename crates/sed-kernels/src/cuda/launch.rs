//! A kernel launch: the kernel, its geometry and its arguments.

use candle_core::{DType, Result, Tensor, bail};

use super::memory::{Output, address};

/// Threads of a warp.
pub(crate) const WARP: usize = 32;
/// Most blocks in the second and third dimension of a grid.
pub(crate) const GRID_LIMIT: usize = 65_535;

/// One argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arg {
    /// Memory of the launch's device; the kernel touches `bytes` bytes of elements of one size, and changes
    /// them only if `written`. A null pointer has address 0.
    Pointer {
        /// Address of its first byte.
        address: u64,
        /// Its length in bytes.
        bytes: usize,
        /// The size of an element in bytes.
        element: usize,
        /// True if the kernel writes to it.
        written: bool,
    },
    /// `int`
    I32(i32),
    /// `long long`
    I64(i64),
    /// `float`
    F32(f32),
}

/// A kernel with its geometry and arguments, in the order of its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The exported name, with the suffix of its storage type.
    pub(crate) kernel: String,
    /// Blocks in x, y, z.
    pub(crate) grid: [usize; 3],
    /// Threads of a block in x, y, z; a multiple of 32 together.
    pub(crate) block: [usize; 3],
    /// Dynamic shared memory of a block in bytes, at most 48 KiB.
    pub(crate) shared_bytes: usize,
    pub(crate) args: Vec<Arg>,
}

impl Launch {
    /// A launch of `kernel` for tensors of `dtype` (f32, bf16 or f16), in `grid` blocks of `threads` threads.
    pub(crate) fn new(kernel: &str, dtype: DType, grid: [usize; 3], threads: usize) -> Result<Self> {
        let suffix = match dtype {
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            other => bail!("{kernel}: no kernel for {other:?}; convert to f32, bf16 or f16"),
        };
        if grid[1].max(grid[2]) > GRID_LIMIT {
            bail!("{kernel}: a grid of {grid:?} blocks is too large; cut the batch");
        }
        let kernel = format!("{kernel}_{suffix}");
        Ok(Self { kernel, grid, block: [threads, 1, 1], shared_bytes: 0, args: Vec::new() })
    }

    /// Asks for `bytes` of dynamic shared memory.
    pub(crate) fn shared(mut self, bytes: usize) -> Self {
        self.shared_bytes = bytes;
        self
    }

    /// A contiguous tensor that the kernel reads. It must live until [`Launch::run`] returns.
    pub(crate) fn input(mut self, x: &Tensor) -> Result<Self> {
        let (address, bytes) = address(x)?;
        self.args.push(Arg::Pointer { address, bytes, element: x.dtype().size_in_bytes(), written: false });
        Ok(self)
    }

    /// A tensor that the kernel reads, or a null pointer.
    pub(crate) fn optional(mut self, x: Option<&Tensor>) -> Result<Self> {
        match x {
            Some(x) => self.input(x),
            None => {
                self.args.push(Arg::Pointer { address: 0, bytes: 0, element: 1, written: false });
                Ok(self)
            }
        }
    }

    /// Memory that the kernel writes.
    pub(crate) fn output(mut self, y: &mut Output) -> Result<Self> {
        let (address, bytes) = y.address()?;
        self.args.push(Arg::Pointer { address, bytes, element: y.dtype().size_in_bytes(), written: true });
        Ok(self)
    }

    /// Bytes `first .. first + bytes` of memory that the kernel writes, as elements of `element` bytes: what kernels
    /// of several types write lies in one tensor.
    pub(crate) fn output_part(
        mut self,
        y: &mut Output,
        (first, bytes): (usize, usize),
        element: usize,
    ) -> Result<Self> {
        let (address, whole) = y.address()?;
        if first + bytes > whole || !first.is_multiple_of(element) {
            bail!("{}: bytes {first} + {bytes} of an output of {whole}", self.kernel);
        }
        let address = address + first as u64;
        self.args.push(Arg::Pointer { address, bytes, element, written: true });
        Ok(self)
    }

    /// A size or an index of type `int`.
    pub(crate) fn i32(mut self, value: usize) -> Result<Self> {
        let Ok(value) = i32::try_from(value) else { bail!("{}: {value} is too large", self.kernel) };
        self.args.push(Arg::I32(value));
        Ok(self)
    }

    /// A number of type `long long`, for products of sizes.
    pub(crate) fn i64(mut self, value: usize) -> Self {
        self.args.push(Arg::I64(value as i64));
        self
    }

    /// A number of type `float`.
    pub(crate) fn f32(mut self, value: f32) -> Self {
        self.args.push(Arg::F32(value));
        self
    }
}
