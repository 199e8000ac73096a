//! Products by cuBLASLt, those of one weight always by one algorithm.
//!
//! The algorithm sets the order in which the terms of a sum are added. cuBLAS chooses one for every number of
//! rows, and may split a sum among blocks; a picture's result would then depend on the pictures in its batch.
//! Here the algorithm is chosen once for a weight's sizes, format and tail, for a fixed number of rows, among
//! those that do not split sums. With it stay its descriptor and layouts: a call sets in them what is new (the
//! number of rows, the address of the bias), and makes none.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::cuda_backend::cudarc::cublas::result::CublasError as BlasError;
use candle_core::cuda_backend::cudarc::cublas::sys::{cublasOperation_t, cublasStatus_t as BlasStatus};
use candle_core::cuda_backend::cudarc::cublaslt::result::{self as lt, CublasError};
use candle_core::cuda_backend::cudarc::cublaslt::sys::{
    cublasComputeType_t as Compute, cublasLtEpilogue_t as Epilogue, cublasLtHandle_t, cublasLtMatmulAlgo_t,
    cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t as OperationAttribute,
    cublasLtMatmulPreferenceAttributes_t as Preference, cublasLtMatrixLayout_t,
    cublasLtMatrixLayoutAttribute_t as LayoutAttribute, cublasStatus_t, cudaDataType_t, cudaStream_t,
};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::cuda_backend::{CudaDevice, CudaError, DeviceId, WrapErr, gemm_reduced_precision_f32};
use candle_core::{DType, Device, Result, Tensor};

use super::memory::{Output, address};
use super::tail::Tail;

/// Rows for which algorithms are chosen: some two pictures at the encoder's longest stage.
const PLANNED_ROWS: usize = 4096;
/// Products and rows for which those of a batch are chosen: the cost map of a picture and many categories.
const PLANNED_BATCH: (usize, usize) = (128, 576);
/// Memory of a device for algorithms that need some beside their operands, in bytes: what NVIDIA advises for
/// Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;
/// Alignment of the rows of every operand, in bytes, or the row's own where that is less.
const ALIGNMENT: usize = 16;

/// Sizes of a product: `[rows, k]` times `[n, k]` transposed, or times each of a batch of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) batch: Option<usize>,
}

impl Size {
    /// The size for which the algorithm of this one is chosen.
    fn planned(self) -> Self {
        match self.batch {
            None => Self { rows: PLANNED_ROWS, ..self },
            Some(_) => Self { rows: PLANNED_BATCH.1, batch: Some(PLANNED_BATCH.0), ..self },
        }
    }
}

/// The handle, workspace and plans of a device, made by its first product.
type Slot = Arc<Mutex<Option<Prepared>>>;
/// The slot of each device. The lock of the table is held only to find it, so that devices do not wait for
/// each other's launches.
static DEVICES: Mutex<Option<HashMap<DeviceId, Slot>>> = Mutex::new(None);
/// Products that the algorithm of their weight refused, and that ran by one of their own.
static OFF_PLAN: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Most of these that are kept, with their algorithms: their sizes are without end.
const MOST_OFF_PLAN: usize = 256;

/// The result of a call of cuBLASLt.
type Outcome<T> = std::result::Result<T, CublasError>;

/// Factors, results and sums of an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    size: Size,
    dtype: DType,
    /// True if f32 factors are rounded to TF32.
    tf32: bool,
    biased: bool,
    added: bool,
}

impl Key {
    fn new(size: Size, dtype: DType, tail: Tail<'_>) -> Self {
        let (biased, added) = (tail.bias.is_some(), tail.addend.is_some());
        Self { size, dtype, tf32: gemm_reduced_precision_f32(), biased, added }
    }

    fn planned(self) -> Self {
        Self { size: self.size.planned(), ..self }
    }

    fn epilogue(self) -> Epilogue {
        if self.biased { Epilogue::CUBLASLT_EPILOGUE_BIAS } else { Epilogue::CUBLASLT_EPILOGUE_DEFAULT }
    }
}

struct Prepared {
    handle: cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    /// As many as there are sizes and tails of weights.
    plans: HashMap<Key, Plan>,
    /// Plans of products that the plan of their weight refused.
    own_plans: HashMap<Key, Plan>,
}

// SAFETY: cuBLASLt's handle, descriptors and layouts may be used by any thread, and are used under their
// device's lock alone.
unsafe impl Send for Prepared {}

struct Plan {
    operation: Operation,
    algorithm: cublasLtMatmulAlgo_t,
    layouts: Layouts,
}

/// As [`super::product::product`], which has checked the arguments. Returns the values of the result in one row.
pub(super) fn multiply(
    device: &CudaDevice,
    x: &Tensor,
    weight: &Tensor,
    size: Size,
    tail: Tail<'_>,
) -> Result<Tensor> {
    let values = size.batch.unwrap_or(1) * size.rows * size.n;
    let mut output = Output::new(&Device::Cuda(device.clone()), x.dtype(), values)?;
    multiply_into(device, (x, weight), size, tail, (&mut output, 0))?;
    Ok(output.into_tensor())
}

/// As [`super::product::products_into`], which has checked the arguments: the result goes to the values of an output
/// from some on.
pub(super) fn multiply_into(
    device: &CudaDevice,
    (x, weight): (&Tensor, &Tensor),
    size: Size,
    tail: Tail<'_>,
    (output, first): (&mut Output, usize),
) -> Result<()> {
    let dtype = x.dtype();
    let values = size.batch.unwrap_or(1) * size.rows * size.n;
    if values == 0 {
        return Ok(());
    }
    let y = output.part(first, values)?;
    let operands = Operands {
        x: address(x)?.0,
        weight: address(weight)?.0,
        bias: address_or(tail.bias, 0)?,
        addend: address_or(tail.addend, y)?,
        y,
    };
    let slot = Arc::clone(locked(&DEVICES).get_or_insert_default().entry(device.id()).or_default());
    let mut slot = locked(&slot);
    let prepared = match &mut *slot {
        Some(prepared) => prepared,
        empty => empty.insert(Prepared::new(device)?),
    };
    prepared.run(device, Key::new(size, dtype, tail), operands)
}

fn address_or(x: Option<&Tensor>, absent: u64) -> Result<u64> {
    x.map_or(Ok(absent), |x| Ok(address(x)?.0))
}

/// Products that did not run by the algorithm of their weight, so that their rows may depend on their number.
pub(crate) fn off_plan() -> Vec<String> {
    locked(&OFF_PLAN).clone()
}

/// Locks a mutex, poisoned or not: a panic leaves the guarded values whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Addresses on the device.
#[derive(Clone, Copy)]
struct Operands {
    x: u64,
    weight: u64,
    /// 0 if there is none.
    bias: u64,
    /// That of the result if there is none: it is not read then.
    addend: u64,
    y: u64,
}

impl Prepared {
    fn new(device: &CudaDevice) -> Result<Self> {
        let handle = lt::create_handle().map_err(blas_error).w()?;
        // SAFETY: no algorithm reads what it has not written there.
        let workspace = unsafe { device.cuda_stream().alloc(WORKSPACE_BYTES) }.w()?;
        Ok(Self { handle, workspace, plans: HashMap::new(), own_plans: HashMap::new() })
    }

    fn run(&mut self, device: &CudaDevice, key: Key, operands: Operands) -> Result<()> {
        let stream = device.cuda_stream();
        let (address, _guard) = self.workspace.device_ptr(&stream);
        let place =
            Place { handle: self.handle, workspace: address, stream: stream.cu_stream() as cudaStream_t };
        if let Some(own) = self.own_plans.get_mut(&key) {
            return own.launch(place, key, operands).map_err(blas_error).w();
        }
        let plan = match self.plans.entry(key.planned()) {
            Entry::Occupied(plan) => plan.into_mut(),
            Entry::Vacant(empty) => {
                empty.insert(Plan::choose(self.handle, key.planned(), operands.bias).map_err(blas_error).w()?)
            }
        };
        match plan.launch(place, key, operands) {
            Err(CublasError(
                cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED | cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE,
            )) if key != key.planned() => {
                let mut own = Plan::choose(self.handle, key, operands.bias).map_err(blas_error).w()?;
                own.launch(place, key, operands).map_err(blas_error).w()?;
                let mut off_plan = locked(&OFF_PLAN);
                if off_plan.len() < MOST_OFF_PLAN {
                    off_plan.push(format!("{key:?}"));
                    self.own_plans.insert(key, own);
                }
                Ok(())
            }
            done => done.map_err(blas_error).w(),
        }
    }
}

/// The handle, workspace and stream of a product.
#[derive(Clone, Copy)]
struct Place {
    handle: cublasLtHandle_t,
    workspace: u64,
    stream: cudaStream_t,
}

impl Plan {
    /// Asks cuBLASLt for its best algorithm that does not split sums. `bias` is the address of the first one,
    /// if there is any.
    fn choose(handle: cublasLtHandle_t, key: Key, bias: u64) -> Outcome<Self> {
        let compute = match (key.dtype, key.tf32) {
            (DType::F32, true) => Compute::CUBLAS_COMPUTE_32F_FAST_TF32,
            _ => Compute::CUBLAS_COMPUTE_32F,
        };
        let operation = Operation(lt::create_matmul_desc(compute, cudaDataType_t::CUDA_R_32F)?);
        let layouts = Layouts::new(key.size, key.dtype)?;
        let preference = Wishes(lt::create_matmul_pref()?);
        // A row of an operand begins where the one before ends, and all tensors begin at multiples of 16
        // bytes.
        let aligned = |values: usize| {
            let bytes = values * key.dtype.size_in_bytes();
            1u32 << bytes.trailing_zeros().min(ALIGNMENT.trailing_zeros())
        };
        let (k, n) = (aligned(key.size.k), aligned(key.size.n));
        operation.set(OperationAttribute::CUBLASLT_MATMUL_DESC_TRANSA, cublasOperation_t::CUBLAS_OP_T)?;
        operation.set(OperationAttribute::CUBLASLT_MATMUL_DESC_EPILOGUE, key.epilogue())?;
        if key.biased {
            // Versions of the library find no algorithm for a bias that is nowhere.
            operation.set(OperationAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)?;
        }
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, WORKSPACE_BYTES)?;
        // No reduction scheme: the sum of an output value is made in one place.
        preference.set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, 0_u32)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, k)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, k)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, n)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, n)?;
        let (weight, x, y) = (layouts.weight.0, layouts.x.0, layouts.y.0);
        // SAFETY: all of them live.
        let found =
            unsafe { lt::get_matmul_algo_heuristic(handle, operation.0, weight, x, y, y, preference.0)? };
        Ok(Self { operation, algorithm: found.algo, layouts })
    }

    fn launch(&mut self, place: Place, key: Key, operands: Operands) -> Outcome<()> {
        self.layouts.resize(key.size)?;
        if key.biased {
            self.operation.set(OperationAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias)?;
        }
        let (one, beta) = (1.0_f32, if key.added { 1.0_f32 } else { 0.0 });
        // SAFETY: the addresses are of live tensors of the sizes in the layouts; the workspace belongs to
        // this stream; the factors and the descriptor are read before the call returns.
        unsafe {
            lt::matmul(
                place.handle,
                self.operation.0,
                (&raw const one).cast(),
                (&raw const beta).cast(),
                operands.weight as *const c_void,
                self.layouts.weight.0,
                operands.x as *const c_void,
                self.layouts.x.0,
                operands.addend as *const c_void,
                self.layouts.y.0,
                operands.y as *mut c_void,
                self.layouts.y.0,
                &raw const self.algorithm,
                place.workspace as *mut c_void,
                WORKSPACE_BYTES,
                place.stream,
            )
        }
    }
}

/// The matrices as cuBLASLt sees them, column by column:
/// `y [n, rows] = weight [k, n] transposed · x [k, rows]`.
struct Layouts {
    weight: Layout,
    x: Layout,
    y: Layout,
    size: Size,
}

impl Layouts {
    fn new(size: Size, dtype: DType) -> Outcome<Self> {
        let layout = |high: usize, wide: usize| -> Outcome<Layout> {
            Ok(Layout(lt::create_matrix_layout(data_type(dtype)?, high as u64, wide as u64, high as i64)?))
        };
        let Size { rows, k, n, batch } = size;
        let layouts = Self { weight: layout(k, n)?, x: layout(k, rows)?, y: layout(n, rows)?, size };
        if let Some(batch) = batch {
            for (layout, stride) in [(&layouts.weight, k * n), (&layouts.x, 0), (&layouts.y, n * rows)] {
                layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, batch as i32)?;
                layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride as i64)?;
            }
        }
        Ok(layouts)
    }

    /// Changes them to another number of rows and, of a batch, of products.
    fn resize(&mut self, size: Size) -> Outcome<()> {
        if size == self.size {
            return Ok(());
        }
        for layout in [&self.x, &self.y] {
            layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_COLS, size.rows as u64)?;
        }
        if let Some(batch) = size.batch {
            for layout in [&self.weight, &self.x, &self.y] {
                layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, batch as i32)?;
            }
            let stride = (size.n * size.rows) as i64;
            self.y.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride)?;
        }
        self.size = size;
        Ok(())
    }
}

fn data_type(dtype: DType) -> Outcome<cudaDataType_t> {
    match dtype {
        DType::F32 => Ok(cudaDataType_t::CUDA_R_32F),
        DType::BF16 => Ok(cudaDataType_t::CUDA_R_16BF),
        DType::F16 => Ok(cudaDataType_t::CUDA_R_16F),
        _ => Err(CublasError(cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)),
    }
}

/// A product's descriptor, destroyed on drop.
struct Operation(cublasLtMatmulDesc_t);

impl Operation {
    fn set<T>(&self, attribute: OperationAttribute, value: T) -> Outcome<()> {
        // SAFETY: the descriptor lives; the callers give the type that the attribute has.
        unsafe { lt::set_matmul_desc_attribute(self.0, attribute, (&raw const value).cast(), size_of::<T>()) }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: nothing else destroys it.
        let _ = unsafe { lt::destroy_matmul_desc(self.0) };
    }
}

/// A matrix layout, destroyed on drop.
struct Layout(cublasLtMatrixLayout_t);

impl Layout {
    fn set<T>(&self, attribute: LayoutAttribute, value: T) -> Outcome<()> {
        // SAFETY: the layout lives; the callers give the type that the attribute has.
        unsafe {
            lt::set_matrix_layout_attribute(self.0, attribute, (&raw const value).cast(), size_of::<T>())
        }
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: nothing else destroys it.
        let _ = unsafe { lt::destroy_matrix_layout(self.0) };
    }
}

/// Preferences for the choice of an algorithm, destroyed on drop.
struct Wishes(candle_core::cuda_backend::cudarc::cublaslt::sys::cublasLtMatmulPreference_t);

impl Wishes {
    fn set<T>(&self, attribute: Preference, value: T) -> Outcome<()> {
        // SAFETY: the preference lives; the callers give the type that the attribute has.
        unsafe { lt::set_matmul_pref_attribute(self.0, attribute, (&raw const value).cast(), size_of::<T>()) }
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        // SAFETY: nothing else destroys it.
        let _ = unsafe { lt::destroy_matmul_pref(self.0) };
    }
}

/// The error as candle's, which knows cuBLAS's statuses alone; they have the same meaning.
fn blas_error(CublasError(status): CublasError) -> CudaError {
    use cublasStatus_t as Lt;
    CudaError::Cublas(BlasError(match status {
        Lt::CUBLAS_STATUS_SUCCESS => BlasStatus::CUBLAS_STATUS_SUCCESS,
        Lt::CUBLAS_STATUS_NOT_INITIALIZED => BlasStatus::CUBLAS_STATUS_NOT_INITIALIZED,
        Lt::CUBLAS_STATUS_ALLOC_FAILED => BlasStatus::CUBLAS_STATUS_ALLOC_FAILED,
        Lt::CUBLAS_STATUS_INVALID_VALUE => BlasStatus::CUBLAS_STATUS_INVALID_VALUE,
        Lt::CUBLAS_STATUS_ARCH_MISMATCH => BlasStatus::CUBLAS_STATUS_ARCH_MISMATCH,
        Lt::CUBLAS_STATUS_MAPPING_ERROR => BlasStatus::CUBLAS_STATUS_MAPPING_ERROR,
        Lt::CUBLAS_STATUS_EXECUTION_FAILED => BlasStatus::CUBLAS_STATUS_EXECUTION_FAILED,
        Lt::CUBLAS_STATUS_INTERNAL_ERROR => BlasStatus::CUBLAS_STATUS_INTERNAL_ERROR,
        Lt::CUBLAS_STATUS_NOT_SUPPORTED => BlasStatus::CUBLAS_STATUS_NOT_SUPPORTED,
        Lt::CUBLAS_STATUS_LICENSE_ERROR => BlasStatus::CUBLAS_STATUS_LICENSE_ERROR,
    }))
}
