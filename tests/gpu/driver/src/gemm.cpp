#include "gemm.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "number.h"
#include "parallel.h"

namespace software_cuda {
namespace {

// A tile of sums that stays in registers: two vectors of rows by a few columns.
constexpr size_t LANES = 8, TILE_ROWS = 2 * LANES, TILE_COLUMNS = 6;
// Blocks that stay in the caches while they are used.
constexpr size_t BLOCK_K = 256, BLOCK_ROWS = 128, BLOCK_COLUMNS = 384;

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

Vector load(const float* at) { return *reinterpret_cast<const Unaligned*>(at); }

void store(float* at, Vector v) { *reinterpret_cast<Unaligned*>(at) = v; }

// sums += panel of a times panel of b, over `k`.
void multiply_tile(size_t k, const float* a, const float* b, float* sums) {
  Vector low[TILE_COLUMNS], high[TILE_COLUMNS];
#pragma GCC unroll 6
  for (size_t j = 0; j < TILE_COLUMNS; j++) {
    low[j] = load(sums + j * TILE_ROWS);
    high[j] = load(sums + j * TILE_ROWS + LANES);
  }
  for (size_t l = 0; l < k; l++, a += TILE_ROWS, b += TILE_COLUMNS) {
    const Vector first = load(a), second = load(a + LANES);
#pragma GCC unroll 6
    for (size_t j = 0; j < TILE_COLUMNS; j++) {
      low[j] += first * b[j];
      high[j] += second * b[j];
    }
  }
#pragma GCC unroll 6
  for (size_t j = 0; j < TILE_COLUMNS; j++) {
    store(sums + j * TILE_ROWS, low[j]);
    store(sums + j * TILE_ROWS + LANES, high[j]);
  }
}

// Copies `count` x `k` elements from (first, from) on into panels of `width`, as f32, zeros behind the end.
template <typename T>
void pack_as(const Factor& x, size_t first, size_t count, size_t from, size_t k, size_t width, float* to) {
  const T* at = static_cast<const T*>(x.at);
  for (size_t p = 0; p < count; p += width, to += width * k) {
    const size_t rows = std::min(width, count - p);
    if (rows < width) memset(to, 0, width * k * sizeof(float));
    const T* start = at + static_cast<int64_t>(first + p) * x.row + static_cast<int64_t>(from) * x.column;
    if (x.column == 1) {
      for (size_t i = 0; i < rows; i++) {
        const T* row = start + static_cast<int64_t>(i) * x.row;
        for (size_t l = 0; l < k; l++) to[l * width + i] = static_cast<float>(row[l]);
      }
    } else {
      for (size_t l = 0; l < k; l++) {
        const T* column = start + static_cast<int64_t>(l) * x.column;
        for (size_t i = 0; i < rows; i++)
          to[l * width + i] = static_cast<float>(column[static_cast<int64_t>(i) * x.row]);
      }
    }
  }
}

void pack(const Factor& x, size_t first, size_t count, size_t from, size_t k, size_t width, float* to) {
  switch (x.type) {
    case Type::F32: return pack_as<float>(x, first, count, from, k, width, to);
    case Type::F16: return pack_as<f16>(x, first, count, from, k, width, to);
    case Type::BF16: return pack_as<bf16>(x, first, count, from, k, width, to);
  }
}

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

struct Workspace {
  std::vector<float> a, b, sums, total;
};

// One block of sums, from `row` and `column` on.
struct Block {
  size_t row, rows, column, columns;
};

void multiply_block(const Block& block, size_t k, const Factor& a, const Factor& b, unsigned slices,
                    const Finish& finish) {
  static thread_local Workspace work;
  const size_t rows = round_up(block.rows, TILE_ROWS), columns = round_up(block.columns, TILE_COLUMNS);
  work.a.resize(rows * BLOCK_K);
  work.b.resize(columns * BLOCK_K);
  work.total.assign(rows * columns, 0.0f);
  for (unsigned slice = 0; slice < slices; slice++) {
    const size_t begin = k * slice / slices, end = k * (slice + 1) / slices;
    work.sums.assign(rows * columns, 0.0f);
    for (size_t l = begin; l < end; l += BLOCK_K) {
      const size_t depth = std::min(BLOCK_K, end - l);
      pack(a, block.row, block.rows, l, depth, TILE_ROWS, work.a.data());
      pack({b.at, b.type, b.column, b.row}, block.column, block.columns, l, depth, TILE_COLUMNS,
           work.b.data());
      for (size_t j = 0; j < columns; j += TILE_COLUMNS) {
        for (size_t i = 0; i < rows; i += TILE_ROWS) {
          multiply_tile(depth, &work.a[i * depth], &work.b[j * depth],
                        &work.sums[j * rows + i * TILE_COLUMNS]);
        }
      }
    }
    if (slices == 1) {
      work.total.swap(work.sums);
    } else {
      for (size_t i = 0; i < work.total.size(); i++) work.total[i] += work.sums[i];
    }
  }
  for (size_t j = 0; j < block.columns; j++) {
    const size_t panel = j / TILE_COLUMNS * TILE_COLUMNS;
    for (size_t i = 0; i < block.rows; i += TILE_ROWS) {
      const float* sums = &work.total[panel * rows + i * TILE_COLUMNS + (j - panel) * TILE_ROWS];
      finish(block.row + i, block.column + j, std::min(TILE_ROWS, block.rows - i), sums);
    }
  }
}

} // namespace

void multiply(size_t m, size_t n, size_t k, const Factor& a, const Factor& b, unsigned slices,
              const Finish& finish) {
  const size_t down = (m + BLOCK_ROWS - 1) / BLOCK_ROWS, across = (n + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS;
  std::atomic<size_t> next{0};
  const bool small = m * n * k < (size_t(1) << 20);
  in_parallel(small ? 1 : ~0u, [&] {
    for (size_t i; (i = next.fetch_add(1)) < down * across;) {
      const size_t row = i % down * BLOCK_ROWS, column = i / down * BLOCK_COLUMNS;
      multiply_block({row, std::min(BLOCK_ROWS, m - row), column, std::min(BLOCK_COLUMNS, n - column)}, k, a,
                     b, slices, finish);
    }
  });
}

} // namespace software_cuda
