// Matrix products in f32 with a fixed order of summation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace software_cuda {

enum class Type { F32, F16, BF16 };

inline unsigned bytes_of(Type type) { return type == Type::F32 ? 4 : 2; }

// A factor: element (i, l) is `at[i * row + l * column]`, in elements.
struct Factor {
  const void* at;
  Type type;
  int64_t row, column;
};

// What becomes of a sum; (i, j) is its place.
using Finish = std::function<void(size_t i, size_t j, size_t count, const float* sums)>;

// Sums of a [m, k] times b [k, n]. Each is a chain over k in `slices` parts of about the same length, which
// are added in their order; it depends on nothing else. `finish` gets `count` sums of neighbouring rows of a
// column, from several threads.
void multiply(size_t m, size_t n, size_t k, const Factor& a, const Factor& b, unsigned slices,
              const Finish& finish);

} // namespace software_cuda
