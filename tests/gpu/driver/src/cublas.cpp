// libcublas.so.13: the classic interface. It chooses its order of summation by the shape, as the real one
// does: code that relies on a row's product being the same in every batch shows here.
#include <set>
#include <mutex>

#include "device.h"
#include "faults.h"
#include "ledger.h"
#include "product.h"
#include "settings.h"

using namespace software_cuda;

namespace {

constexpr size_t WORKSPACE = size_t(32) << 20, CODE = size_t(2) << 20;
// From so many columns on (rows of a row-major activation) a sum is made in two halves.
constexpr int SPLIT_FROM = 256;

struct Handle {
  Device* device;
  Stream* stream;
  uint64_t workspace;
  int math = 0, pointers = 0;
};

CublasStatus status_of(CUresult wrong) {
  return wrong == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

// The library loads its code when it is first needed, into memory beside the pool.
CublasStatus load_code(Device* device, Type type) {
  static auto* loaded = new std::set<std::pair<int, Type>>;
  static auto* lock = new std::mutex;
  const std::lock_guard<std::mutex> guard(*lock);
  if (loaded->count({device->number, type})) return CUBLAS_STATUS_SUCCESS;
  uint64_t code;
  if (device->memory.allocate(CODE, false, &code) != CUDA_SUCCESS) {
    return CUBLAS_STATUS_INTERNAL_ERROR;
  }
  loaded->insert({device->number, type});
  return CUBLAS_STATUS_SUCCESS;
}

} // namespace

EXPORT CublasStatus cublasCreate_v2(void** handle) {
  Device* device;
  if (enter(&device) != CUDA_SUCCESS) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const auto fault = fault_at("cublas_create")) return fault->status;
  if (settings().driver_version < 13000)
    return CUBLAS_STATUS_NOT_INITIALIZED; // libcublas.so.13 on an old driver
  uint64_t workspace;
  if (device->memory.allocate(WORKSPACE, false, &workspace) != CUDA_SUCCESS)
    return CUBLAS_STATUS_ALLOC_FAILED;
  Entry("alloc").text("call", "cublasCreate").number("device", device->number).number("bytes", WORKSPACE);
  *handle = new Handle{device, device->standard.get(), workspace};
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasDestroy_v2(void* handle) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  auto* one = static_cast<Handle*>(handle);
  one->stream->drain();
  if (one->device->memory.give_back(one->workspace) == CUDA_SUCCESS) one->device->memory.bury(one->workspace);
  delete one;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasSetStream_v2(void* handle, void* stream_handle) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  Stream* stream = stream_of(stream_handle);
  if (!stream) return CUBLAS_STATUS_INVALID_VALUE;
  static_cast<Handle*>(handle)->stream = stream;
  return status_of(stream->device->dead);
}

EXPORT CublasStatus cublasSetMathMode(void* handle, int mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  static_cast<Handle*>(handle)->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasGetMathMode(void* handle, int* mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  *mode = static_cast<Handle*>(handle)->math;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasSetPointerMode_v2(void* handle, int mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  return mode == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED; // factors are on the host
}

EXPORT CublasStatus cublasGetPointerMode_v2(void* handle, int* mode) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  *mode = 0;
  return CUBLAS_STATUS_SUCCESS;
}

// The workspace holds nothing here; it is only checked.
EXPORT CublasStatus cublasSetWorkspace_v2(void* handle, void* workspace, size_t bytes) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const auto address = reinterpret_cast<uint64_t>(workspace);
  if (bytes == 0) return CUBLAS_STATUS_SUCCESS;
  if (address % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  try {
    static_cast<Handle*>(handle)->device->memory.check(address, bytes, 1, "cublasSetWorkspace");
  } catch (const Illegal&) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasGetVersion_v2(void*, int* version) {
  *version = 130000;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasGemmStridedBatchedEx(void* handle, int transa, int transb, int m, int n, int k,
                                               const void* alpha, const void* a, int a_type, int lda,
                                               long long a_stride, const void* b, int b_type, int ldb,
                                               long long b_stride, const void* beta, void* c, int c_type,
                                               int ldc, long long c_stride, int batch, int compute, int) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  auto* one = static_cast<Handle*>(handle);
  const auto types = {type_of(a_type), type_of(b_type), type_of(c_type)};
  for (const auto& type : types) {
    if (!type) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  // COMPUTE_32F, or with factors rounded to TF32; f16 and bf16 as factors of f32 are not there.
  if (compute != 68 && compute != 77) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a_type != b_type || (c_type != a_type && c_type != 0)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool whole_a = transa != 0, whole_b = transb != 0;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max(1, whole_a ? k : m) ||
      ldb < std::max(1, whole_b ? n : k) || ldc < std::max(1, m)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (const CublasStatus wrong = load_code(one->device, *type_of(a_type))) return wrong;
  const Matrix result{reinterpret_cast<uint64_t>(c), *type_of(c_type), ldc, c_stride};
  Product product{};
  product.library = "cublas";
  product.m = static_cast<size_t>(m);
  product.n = static_cast<size_t>(n);
  product.k = static_cast<size_t>(k);
  product.batch = static_cast<size_t>(batch);
  product.transpose_a = whole_a;
  product.transpose_b = whole_b;
  product.a = {reinterpret_cast<uint64_t>(a), *type_of(a_type), lda, a_stride};
  product.b = {reinterpret_cast<uint64_t>(b), *type_of(b_type), ldb, b_stride};
  product.c = product.d = result;
  product.alpha = *static_cast<const float*>(alpha);
  product.beta = *static_cast<const float*>(beta);
  product.epilogue = "DEFAULT";
  product.tf32 = compute == 77;
  product.slices = n < SPLIT_FROM ? 1 : 2;
  return put_product(one->stream, product);
}

EXPORT CublasStatus cublasGemmEx(void* handle, int transa, int transb, int m, int n, int k, const void* alpha,
                                 const void* a, int a_type, int lda, const void* b, int b_type, int ldb,
                                 const void* beta, void* c, int c_type, int ldc, int compute, int algo) {
  return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb,
                                    0, beta, c, c_type, ldc, 0, 1, compute, algo);
}
