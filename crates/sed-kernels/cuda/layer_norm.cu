// Layer norm over the last axis: one warp normalises one row.
#include "common.cuh"

// y[row] = (x[row] - mean) / sqrt(variance + eps) * weight + bias, `x` and `y` [rows, channels].
// Mean and variance in two passes; the row stays in the first-level cache.
// Floor: rows * channels values read and written.
template <typename T>
__device__ void layer_norm(const T* x, const float* weight, const float* bias, T* y, long long rows, int channels,
                           float eps) {
  const int lane = threadIdx.x % WARP;
  const long long row = (long long)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (row >= rows) return; // whole warps leave
  const T* from = x + row * channels;
  T* to = y + row * channels;
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
  (const T* x, const float* weight, const float* bias, T* y, long long rows, int channels, float eps)
SED_KERNEL(layer_norm, PARAMETERS, (x, weight, bias, y, rows, channels, eps))
#undef PARAMETERS
