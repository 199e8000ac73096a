// libcublasLt.so.13: products whose order of summation is that of the algorithm, not of the shape.
//
// An algorithm is (id, tile, parts of k, alignment in bytes). A query of the heuristic offers, the fastest
// first: split k where rows x columns are few and the preference's reduction mask allows it, then one chain
// over k. An algorithm of 16-byte accesses wants pointers, and leading dimensions in bytes, that are
// multiples of 16.
#include <algorithm>
#include <cstring>

#include "faults.h"
#include "product.h"

using namespace software_cuda;

namespace {

// Tiles for few and for many columns (rows of a row-major activation): the heuristic chooses by their number.
constexpr int NARROW = 15, WIDE = 20;

struct Algorithm {
  uint64_t magic;
  int32_t id, tile, slices, alignment;
  uint64_t unused[5];
};
static_assert(sizeof(Algorithm) == 64, "cublasLtMatmulAlgo_t");
constexpr uint64_t MAGIC = 0x736f667477617265;

struct HeuristicResult {
  Algorithm algorithm;
  size_t workspace;
  CublasStatus state;
  float waves;
  int reserved[4];
};

struct Description {
  int compute, scale;
  int transa = 0, transb = 0, transc = 0;
  uint32_t epilogue = 1;
  uint64_t bias = 0;
  int64_t bias_stride = 0;
  int bias_type = -1;
};

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t ld;
  int32_t order = 0, batch = 1;
  int64_t stride = 0;
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t reduction_mask = 7;
  uint32_t alignment[4] = {256, 256, 256, 256}; // promised for the pointers of a, b, c, d
};

// Copies an attribute of exactly `T`.
template <typename T>
CublasStatus take(T* to, const void* from, size_t bytes) {
  if (bytes != sizeof(T) || !from) return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(to, from, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}

struct Epilogue {
  uint32_t code;
  const char* name;
  Activation activation;
  bool bias;
};
const Epilogue EPILOGUES[] = {
    {1, "DEFAULT", Activation::None, false}, {4, "BIAS", Activation::None, true},
    {2, "RELU", Activation::Relu, false},    {6, "RELU_BIAS", Activation::Relu, true},
    {32, "GELU", Activation::Gelu, false},   {36, "GELU_BIAS", Activation::Gelu, true},
};

const Epilogue* epilogue_of(uint32_t code) {
  for (const Epilogue& one : EPILOGUES) {
    if (one.code == code) return &one;
  }
  return nullptr;
}

// A product's sizes, or why there is none.
CublasStatus sizes(const Description& what, const Layout& a, const Layout& b, const Layout& c,
                   const Layout& d, size_t* m, size_t* n, size_t* k) {
  for (const Layout* one : {&a, &b, &c, &d}) {
    if (!type_of(one->type) || one->order != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (one->ld < static_cast<int64_t>(one->rows) || one->batch != d.batch)
      return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (what.compute != 68 && what.compute != 77) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (what.scale != 0 || what.transc != 0 || !epilogue_of(what.epilogue)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a.type != b.type || c.type != d.type || (d.type != a.type && d.type != 0))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  // The bias has the type of d, whatever it is asked to be: the real library offers no other combination.
  const bool biased = epilogue_of(what.epilogue)->bias;
  if (biased && what.bias_type >= 0 && what.bias_type != d.type) return CUBLAS_STATUS_NOT_SUPPORTED;
  *m = what.transa ? a.columns : a.rows;
  *k = what.transa ? a.rows : a.columns;
  *n = what.transb ? b.rows : b.columns;
  const size_t depth = what.transb ? b.columns : b.rows;
  const bool fits = depth == *k && d.rows == *m && d.columns == *n && c.rows == *m && c.columns == *n;
  return fits ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

bool lines_up(const Layout& layout, int alignment) {
  const int64_t size = bytes_of(*type_of(layout.type));
  return layout.ld * size % alignment == 0 && (layout.batch < 2 || layout.stride * size % alignment == 0);
}

// Whether the algorithm can work on these layouts.
CublasStatus suits(const Algorithm& algorithm, const Layout& a, const Layout& b, const Layout& c,
                   const Layout& d) {
  if (algorithm.magic != MAGIC || algorithm.slices < 1) return CUBLAS_STATUS_INVALID_VALUE;
  for (const Layout* one : {&a, &b, &c, &d}) {
    if (!lines_up(*one, algorithm.alignment)) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

size_t workspace_of(const Algorithm& algorithm, size_t m, size_t n, size_t batch) {
  return algorithm.slices == 1 ? 0 : static_cast<size_t>(algorithm.slices) * m * n * batch * 4;
}

template <typename T>
T* as(void* handle) {
  return static_cast<T*>(handle);
}

} // namespace

EXPORT CublasStatus cublasLtCreate(void** handle) {
  Device* device;
  if (enter(&device) != CUDA_SUCCESS) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const auto fault = fault_at("cublas_create")) return fault->status;
  *handle = new Device*(device);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtDestroy(void* handle) {
  delete as<Device*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT size_t cublasLtGetVersion() { return 130000; }

EXPORT CublasStatus cublasLtMatmulDescCreate(void** handle, int compute, int scale) {
  *handle = new Description{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatmulDescDestroy(void* handle) {
  delete as<Description>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value,
                                                   size_t bytes) {
  auto* what = as<Description>(handle);
  int32_t zero = 0;
  switch (attribute) {
    case 0: return take(&what->compute, value, bytes);
    case 1: return take(&what->scale, value, bytes);
    case 2: // POINTER_MODE: factors are on the host
      if (const CublasStatus wrong = take(&zero, value, bytes)) return wrong;
      return zero == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
    case 3: return take(&what->transa, value, bytes);
    case 4: return take(&what->transb, value, bytes);
    case 5: return take(&what->transc, value, bytes);
    case 7: return take(&what->epilogue, value, bytes);
    case 8: return take(&what->bias, value, bytes);
    case 10: return take(&what->bias_stride, value, bytes);
    case 26: return take(&what->bias_type, value, bytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

EXPORT CublasStatus cublasLtMatrixLayoutCreate(void** handle, int type, uint64_t rows, uint64_t columns,
                                               int64_t ld) {
  *handle = new Layout{type, rows, columns, ld};
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatrixLayoutDestroy(void* handle) {
  delete as<Layout>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* value,
                                                     size_t bytes) {
  auto* layout = as<Layout>(handle);
  switch (attribute) {
    case 0: return take(&layout->type, value, bytes);
    case 1: return take(&layout->order, value, bytes);
    case 2: return take(&layout->rows, value, bytes);
    case 3: return take(&layout->columns, value, bytes);
    case 4: return take(&layout->ld, value, bytes);
    case 5: return take(&layout->batch, value, bytes);
    case 6: return take(&layout->stride, value, bytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

EXPORT CublasStatus cublasLtMatmulPreferenceCreate(void** handle) {
  *handle = new Preference;
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatmulPreferenceDestroy(void* handle) {
  delete as<Preference>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* value,
                                                         size_t bytes) {
  auto* preference = as<Preference>(handle);
  uint32_t ignored;
  switch (attribute) {
    case 0: return take(&ignored, value, bytes); // SEARCH_MODE
    case 1: return take(&preference->workspace, value, bytes);
    case 3: return take(&preference->reduction_mask, value, bytes);
    case 5:
    case 6:
    case 7:
    case 8: return take(&preference->alignment[attribute - 5], value, bytes);
    default: return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

EXPORT CublasStatus cublasLtMatmulAlgoGetHeuristic(void* handle, void* description, void* a, void* b, void* c,
                                                   void* d, void* preference_handle, int wanted,
                                                   HeuristicResult* results, int* found) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Preference usual;
  const Preference& preference = preference_handle ? *as<Preference>(preference_handle) : usual;
  const Layout* layouts[] = {as<Layout>(a), as<Layout>(b), as<Layout>(c), as<Layout>(d)};
  size_t m, n, k;
  *found = 0;
  if (const CublasStatus wrong = sizes(*as<Description>(description), *layouts[0], *layouts[1], *layouts[2],
                                       *layouts[3], &m, &n, &k)) {
    return wrong;
  }
  // Versions of the real library find nothing for a bias without an address.
  const Description& what = *as<Description>(description);
  if (epilogue_of(what.epilogue)->bias && what.bias == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  bool aligned = true;
  for (int i = 0; i < 4; i++)
    aligned = aligned && lines_up(*layouts[i], 16) && preference.alignment[i] % 16 == 0;
  const int alignment = aligned ? 16 : static_cast<int>(bytes_of(*type_of(layouts[0]->type)));
  // Few tiles for many multiprocessors: the real library splits k here.
  const bool few = m * n < 132 * 128 * 128 && k >= 512 && (preference.reduction_mask & 7) != 0;
  const size_t batch = static_cast<size_t>(layouts[3]->batch);
  for (const int slices : {few ? 4 : 0, 1, few ? 2 : 0}) {
    if (slices == 0 || *found >= wanted) continue;
    HeuristicResult result{};
    result.algorithm = {MAGIC, aligned ? 66 : 67, n < 256 ? NARROW : WIDE, slices, alignment, {}};
    result.workspace = workspace_of(result.algorithm, m, n, batch);
    result.waves = static_cast<float>((m + 127) / 128 * ((n + 127) / 128)) / 132.0f;
    if (result.workspace > preference.workspace) continue;
    results[(*found)++] = result;
  }
  return *found > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

EXPORT CublasStatus cublasLtMatmulAlgoCheck(void* handle, void* description, void* a, void* b, void* c,
                                            void* d, const Algorithm* algorithm, HeuristicResult* result) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  size_t m, n, k;
  const Layout &la = *as<Layout>(a), &lb = *as<Layout>(b), &lc = *as<Layout>(c), &ld = *as<Layout>(d);
  CublasStatus status = sizes(*as<Description>(description), la, lb, lc, ld, &m, &n, &k);
  if (status == CUBLAS_STATUS_SUCCESS) status = suits(*algorithm, la, lb, lc, ld);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (result) {
    *result = {};
    result->algorithm = *algorithm;
    result->workspace = workspace_of(*algorithm, m, n, static_cast<size_t>(ld.batch));
    result->waves = 1.0f;
  }
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatmulAlgoConfigGetAttribute(const Algorithm* algorithm, int attribute,
                                                         void* value, size_t bytes, size_t* written) {
  if (!algorithm || algorithm->magic != MAGIC) return CUBLAS_STATUS_INVALID_VALUE;
  int32_t number;
  switch (attribute) {
    case 0: number = algorithm->id; break;
    case 1: number = algorithm->tile; break;
    case 2: number = algorithm->slices; break; // SPLITK_NUM
    case 3: number = algorithm->slices > 1 ? 2 : 0; break; // REDUCTION_SCHEME
    case 4:
    case 5:
    case 6:
    case 7:
    case 8: number = 0; break;
    default: return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (written) *written = sizeof number;
  if (bytes < sizeof number) return bytes == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
  memcpy(value, &number, sizeof number);
  return CUBLAS_STATUS_SUCCESS;
}

EXPORT CublasStatus cublasLtMatmul(void* handle, void* description, const void* alpha, const void* a,
                                   void* a_layout, const void* b, void* b_layout, const void* beta,
                                   const void* c, void* c_layout, void* d, void* d_layout,
                                   const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
                                   void* stream_handle) {
  if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
  Stream* stream = stream_of(stream_handle);
  if (!stream || !algorithm) return CUBLAS_STATUS_INVALID_VALUE;
  const Description& what = *as<Description>(description);
  const Layout &la = *as<Layout>(a_layout), &lb = *as<Layout>(b_layout), &lc = *as<Layout>(c_layout),
               &ld = *as<Layout>(d_layout);
  Product product{};
  if (const CublasStatus wrong = sizes(what, la, lb, lc, ld, &product.m, &product.n, &product.k))
    return wrong;
  if (const CublasStatus wrong = suits(*algorithm, la, lb, lc, ld)) return wrong;
  const Epilogue& epilogue = *epilogue_of(what.epilogue);
  if (epilogue.bias && what.bias == 0) return CUBLAS_STATUS_INVALID_VALUE;
  auto matrix = [](const void* at, const Layout& layout) {
    return Matrix{reinterpret_cast<uint64_t>(at), *type_of(layout.type), layout.ld, layout.stride};
  };
  product.library = "cublasLt";
  product.batch = static_cast<size_t>(ld.batch);
  product.transpose_a = what.transa != 0;
  product.transpose_b = what.transb != 0;
  product.a = matrix(a, la);
  product.b = matrix(b, lb);
  product.c = matrix(c, lc);
  product.d = matrix(d, ld);
  product.alpha = *static_cast<const float*>(alpha);
  product.beta = *static_cast<const float*>(beta);
  product.activation = epilogue.activation;
  product.epilogue = epilogue.name;
  product.bias = epilogue.bias ? what.bias : 0;
  product.bias_type = *type_of(ld.type);
  product.bias_stride = what.bias_stride;
  product.tf32 = what.compute == 77;
  // Even without a split, another tile adds in another order.
  const int chains = algorithm->slices == 1 && algorithm->tile == NARROW ? 2 : algorithm->slices;
  product.slices = static_cast<unsigned>(chains);
  for (const Matrix* one : {&product.a, &product.b, &product.d}) {
    if (one->address % static_cast<unsigned>(algorithm->alignment) != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (product.beta != 0.0f && product.c.address % static_cast<unsigned>(algorithm->alignment) != 0) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (workspace_of(*algorithm, product.m, product.n, product.batch) > workspace_bytes)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace_bytes > 0) {
    try {
      stream->device->memory.check(reinterpret_cast<uint64_t>(workspace), workspace_bytes, 16,
                                   "cublasLtMatmul, workspace");
    } catch (const Illegal& illegal) {
      stream->device->fail(illegal.status, illegal.text);
      return CUBLAS_STATUS_SUCCESS;
    }
  }
  return put_product(stream, product);
}
