// One product of cuBLAS or cuBLASLt: its operands are checked, it is written down, and it is computed in its
// turn.
#pragma once

#include <optional>
#include <string>

#include "device.h"
#include "gemm.h"

namespace software_cuda {

enum class Activation { None, Relu, Gelu };

// A column-major matrix and its batch.
struct Matrix {
  uint64_t address;
  Type type;
  int64_t ld, stride;
};

// d = activation(alpha op(a) op(b) + beta c + bias): m x n, column-major; `bias` has m values.
struct Product {
  const char* library;
  size_t m, n, k, batch;
  bool transpose_a, transpose_b;
  Matrix a, b, c, d;
  float alpha, beta;
  Activation activation = Activation::None;
  std::string epilogue = "DEFAULT";
  uint64_t bias = 0;
  Type bias_type = Type::F32;
  int64_t bias_stride = 0;
  bool tf32 = false;
  unsigned slices = 1;
};

SHARED std::optional<Type> type_of(int cuda_data_type);
// Puts the product on the stream.
SHARED CublasStatus put_product(Stream* stream, const Product& product);

} // namespace software_cuda
