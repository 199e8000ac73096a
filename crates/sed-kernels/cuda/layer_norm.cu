// Layer norm over the last axis: one warp normalises one row.
#include "common.cuh"

// Row `row` of a map of `width` columns, in the order of its patches: those of `size` x `size` pixels one after the
// other, the pixels of each row by row. Maps follow each other; their sides are multiples of the size.
__device__ inline long long row_in_patches(unsigned row, unsigned width, unsigned size) {
  const unsigned line = row / width, column = row % width;
  const unsigned patch = line / size * (width / size) + column / size;
  return (long long)patch * (size * size) + line % size * size + column % size;
}

// y[row] = (x[row] - mean) / sqrt(variance + eps) * weight + bias, `x` and `y` [rows, channels]; with a `size` above 1
// `x` is [maps, height, width, channels], and the rows of `y` are in the order of patches of that size.
// Mean and variance in two passes; the row stays in the first-level cache.
// Floor: rows * channels values read and written.
template <typename T>
__device__ void layer_norm(const T* x, const float* weight, const float* bias, T* y, int rows, int channels, float eps,
                           int width, int size) {
  const int lane = threadIdx.x % WARP;
  const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (row >= rows) return; // whole warps leave
  const T* from = x + (long long)row * channels;
  T* to = y + (size > 1 ? row_in_patches(row, width, size) : row) * channels;
  float sum = 0.0f;
  for (int c = lane; c < channels; c += WARP) sum += to_float(from[c]);
  const float mean = warp_sum(sum) / channels;
  float squares = 0.0f;
  for (int c = lane; c < channels; c += WARP) {
    const float d = to_float(from[c]) - mean;
    squares += d * d;
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) / channels + eps);
  for (int c = lane; c < channels; c += WARP) {
    to[c] = from_float<T>((to_float(from[c]) - mean) * scale * weight[c] + bias[c]);
  }
}

#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* weight, const float* bias, T* y, int rows, int channels, float eps, int width, int size)
SED_KERNEL(layer_norm, PARAMETERS, (x, weight, bias, y, rows, channels, eps, width, size))
#undef PARAMETERS
