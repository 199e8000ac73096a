#include "product.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "faults.h"
#include "ledger.h"
#include "number.h"
#include "settings.h"

namespace software_cuda {
namespace {

const char* name_of(Type type) { return type == Type::F32 ? "f32" : type == Type::F16 ? "f16" : "bf16"; }

// Checks that all elements of a batch of matrices with `rows` x `columns` stored elements are allocated.
void check(const Memory& memory, const Matrix& matrix, size_t rows, size_t columns, size_t batch,
           const char* what) {
  if (rows == 0 || columns == 0 || batch == 0) return;
  const int64_t last = static_cast<int64_t>(batch - 1) * matrix.stride +
                       static_cast<int64_t>(columns - 1) * matrix.ld + static_cast<int64_t>(rows - 1);
  const size_t size = bytes_of(matrix.type);
  memory.check(matrix.address, static_cast<size_t>(last + 1) * size, size,
               std::string("product, matrix ") + what);
}

float load(const void* at, Type type, size_t i) {
  switch (type) {
    case Type::F32: return static_cast<const float*>(at)[i];
    case Type::F16: return static_cast<const f16*>(at)[i];
    default: return static_cast<const bf16*>(at)[i];
  }
}

void store(void* at, Type type, size_t i, float v) {
  switch (type) {
    case Type::F32: static_cast<float*>(at)[i] = v; break;
    case Type::F16: static_cast<f16*>(at)[i] = f16::from(v); break;
    default: static_cast<bf16*>(at)[i] = bf16::from(v); break;
  }
}

float activate(float v, Activation activation) {
  if (activation == Activation::Relu) return v > 0.0f || v != v ? v : 0.0f;
  // The tanh form, as cuBLASLt's epilogue computes it.
  if (activation == Activation::Gelu)
    return 0.5f * v * (1.0f + tanhf(0.7978845608f * (v + 0.044715f * v * v * v)));
  return v;
}

const char* at(const Matrix& matrix, size_t batch) {
  return reinterpret_cast<const char*>(matrix.address) +
         static_cast<int64_t>(batch) * matrix.stride * static_cast<int64_t>(bytes_of(matrix.type));
}

// f32 factors as tensor cores take them with TF32: 10 bits of mantissa, to nearest.
std::vector<float> rounded(const Factor& x, size_t rows, size_t columns) {
  std::vector<float> values(rows * columns);
  for (size_t i = 0; i < rows; i++) {
    for (size_t l = 0; l < columns; l++) {
      uint32_t bits;
      memcpy(&bits,
             static_cast<const float*>(x.at) + static_cast<int64_t>(i) * x.row +
                 static_cast<int64_t>(l) * x.column,
             4);
      bits = (bits + 0x1000) & ~0x1fffu;
      memcpy(&values[i * columns + l], &bits, 4);
    }
  }
  return values;
}

void compute_one(const Product& p, size_t batch) {
  Factor a{at(p.a, batch), p.a.type, p.transpose_a ? p.a.ld : 1, p.transpose_a ? 1 : p.a.ld};
  Factor b{at(p.b, batch), p.b.type, p.transpose_b ? p.b.ld : 1, p.transpose_b ? 1 : p.b.ld};
  std::vector<float> short_a, short_b;
  if (p.tf32) {
    short_a = rounded(a, p.m, p.k);
    short_b = rounded(b, p.k, p.n);
    a = {short_a.data(), Type::F32, static_cast<int64_t>(p.k), 1};
    b = {short_b.data(), Type::F32, static_cast<int64_t>(p.n), 1};
  }
  const char* c = at(p.c, batch);
  char* d = const_cast<char*>(at(p.d, batch));
  const void* bias = reinterpret_cast<const char*>(p.bias) + static_cast<int64_t>(batch) * p.bias_stride *
                                                                 static_cast<int64_t>(bytes_of(p.bias_type));
  multiply(p.m, p.n, p.k, a, b, p.slices, [&](size_t i, size_t j, size_t count, const float* sums) {
    for (size_t r = 0; r < count; r++) {
      float v = p.alpha * sums[r];
      if (p.beta != 0.0f) v += p.beta * load(c, p.c.type, j * static_cast<size_t>(p.c.ld) + i + r);
      if (p.bias) v += load(bias, p.bias_type, i + r);
      store(d, p.d.type, j * static_cast<size_t>(p.d.ld) + i + r, activate(v, p.activation));
    }
  });
}

void run(const Memory& memory, const Product& p) {
  check(memory, p.a, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.batch, "a");
  check(memory, p.b, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.batch, "b");
  check(memory, p.d, p.m, p.n, p.batch, "d");
  if (p.beta != 0.0f) check(memory, p.c, p.m, p.n, p.batch, "c");
  if (p.bias) check(memory, {p.bias, p.bias_type, 0, p.bias_stride}, p.m, 1, p.batch, "bias");
  if (!settings().compute) return;
  for (size_t batch = 0; batch < p.batch; batch++) compute_one(p, batch);
}

void note(Stream* stream, const Product& p) {
  auto letter = [](bool transpose) { return transpose ? "T" : "N"; };
  Entry entry("product");
  entry.number("device", stream->device->number).number("stream", stream->number);
  entry.text("library", p.library).number("m", static_cast<int64_t>(p.m));
  entry.number("n", static_cast<int64_t>(p.n)).number("k", static_cast<int64_t>(p.k));
  entry.number("batch", static_cast<int64_t>(p.batch)).text("type", name_of(p.a.type));
  entry.text("transa", letter(p.transpose_a)).text("transb", letter(p.transpose_b));
  entry.text("epilogue", p.epilogue).number("slices", p.slices).flag("c", p.beta != 0.0f);
  if (stream->capturing()) entry.flag("captured", true);
}

} // namespace

std::optional<Type> type_of(int cuda_data_type) {
  switch (cuda_data_type) {
    case 0: return Type::F32;
    case 2: return Type::F16;
    case 14: return Type::BF16;
    default: return std::nullopt;
  }
}

CublasStatus put_product(Stream* stream, const Product& product) {
  Device* device = stream->device;
  if (device->dead) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (const auto fault = fault_at("product")) {
    if (is_asynchronous(fault->status)) {
      device->fail(fault->status, "injected at a product");
      return CUBLAS_STATUS_SUCCESS;
    }
    CUresult none = CUDA_SUCCESS;
    if (fault->sticky) device->dead.compare_exchange_strong(none, CUDA_ERROR_LAUNCH_FAILED);
    return fault->status;
  }
  note(stream, product);
  if (product.m == 0 || product.n == 0 || product.batch == 0) return CUBLAS_STATUS_SUCCESS;
  stream->put([device, product] {
    run(device->memory, product);
    device->memory.check_red_zones(product.d.address, "product");
  });
  return CUBLAS_STATUS_SUCCESS;
}

} // namespace software_cuda
