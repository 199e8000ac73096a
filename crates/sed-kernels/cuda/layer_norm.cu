// Layer norm over the last axis, also with its rows in the order of patches.
#include "common.cuh"

// Row `row` of a map of `width` columns, in the order of its patches: those of `size` x `size` pixels one after the
// other, the pixels of each row by row. Maps follow each other; their sides are multiples of the size.
__device__ inline long long row_in_patches(unsigned row, unsigned width, unsigned size) {
  const unsigned line = row / width, column = row % width;
  if (size == 2) { // ConvNeXt's, without divisions
    return (long long)(line / 2 * (width / 2) + column / 2) * 4 + line % 2 * 2 + column % 2;
  }
  const unsigned patch = line / size * (width / size) + column / size;
  return (long long)patch * (size * size) + line % size * size + column % size;
}

// y[row] = (x[row] - mean) / sqrt(variance + eps) * weight + bias, `x` and `y` [rows, channels]; with a `size` above 1
// `x` is [maps, height, width, channels], and the rows of `y` are in the order of patches of that size; `share` is
// 1 / channels. A warp has a row, which it reads three times: for any channels.
// Floor: rows * channels values read and written.
#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* weight, const float* bias, T* y, int rows, int channels, float share, float eps, \
   int width, int size)
#define ARGUMENTS (x, weight, bias, y, rows, channels, share, eps, width, size)
template <typename T>
__device__ void layer_norm PARAMETERS(T) {
  const int lane = threadIdx.x % WARP;
  const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (row >= rows) return; // whole warps leave
  const T* from = x + (long long)row * channels;
  T* to = y + (size > 1 ? row_in_patches(row, width, size) : row) * channels;
  float sum = 0.0f;
  for (int c = lane; c < channels; c += WARP) sum += to_float(from[c]);
  const float mean = warp_sum(sum) * share;
  float squares = 0.0f;
  for (int c = lane; c < channels; c += WARP) {
    const float d = to_float(from[c]) - mean;
    squares += d * d;
  }
  const float scale = rsqrtf(warp_sum(squares) * share + eps);
  for (int c = lane; c < channels; c += WARP) {
    to[c] = from_float<T>((to_float(from[c]) - mean) * scale * weight[c] + bias[c]);
  }
}
SED_KERNEL(layer_norm, PARAMETERS, ARGUMENTS)

// The sum over groups of LANES neighbouring lanes, in every lane.
template <int LANES>
__device__ inline float sum_of_lanes(float v) {
  for (int step = LANES / 2; step > 0; step /= 2) v += __shfl_xor_sync(ALL_LANES, v, step);
  return v;
}

// The same for channels that are a multiple of 4 and at most 4 * LANES * QUADS: LANES lanes hold a row in registers,
// each QUADS times four neighbours, and read it once. Rows start at multiples of four values.
template <int LANES, int QUADS, typename T>
__device__ void layer_norm_held PARAMETERS(T) {
  struct alignas(4 * sizeof(T)) Quad {
    T v[4];
  };
  const int lane = threadIdx.x % LANES;
  const int row = blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
  // Lanes without a row take part in the sums: of the last row.
  const int held = min(row, rows - 1);
  const T* const from = x + (long long)held * channels;
  float values[QUADS][4];
  float sum = 0.0f;
#pragma unroll
  for (int q = 0; q < QUADS; q++) {
    const int c = (q * LANES + lane) * 4;
    Quad quad = {};
    if (c < channels) quad = *reinterpret_cast<const Quad*>(from + c);
#pragma unroll
    for (int i = 0; i < 4; i++) values[q][i] = to_float(quad.v[i]);
    sum += (values[q][0] + values[q][1]) + (values[q][2] + values[q][3]);
  }
  const float mean = sum_of_lanes<LANES>(sum) * share;
  float squares = 0.0f;
#pragma unroll
  for (int q = 0; q < QUADS; q++) {
    const bool inside = (q * LANES + lane) * 4 < channels;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      values[q][i] -= mean;
      if (inside) squares += values[q][i] * values[q][i];
    }
  }
  const float scale = rsqrtf(sum_of_lanes<LANES>(squares) * share + eps);
  if (row >= rows) return;
  T* const to = y + (size > 1 ? row_in_patches(row, width, size) : row) * channels;
#pragma unroll
  for (int q = 0; q < QUADS; q++) {
    const int c = (q * LANES + lane) * 4;
    if (c >= channels) continue;
    const float4 w = *reinterpret_cast<const float4*>(weight + c), b = *reinterpret_cast<const float4*>(bias + c);
    Quad quad;
    quad.v[0] = from_float<T>(values[q][0] * scale * w.x + b.x);
    quad.v[1] = from_float<T>(values[q][1] * scale * w.y + b.y);
    quad.v[2] = from_float<T>(values[q][2] * scale * w.z + b.z);
    quad.v[3] = from_float<T>(values[q][3] * scale * w.w + b.w);
    *reinterpret_cast<Quad*>(to + c) = quad;
  }
}
// By the most channels that each is for.
#define SED_LAYER_NORM(channels, lanes, quads)                                                               \
  template <typename T>                                                                                      \
  __device__ void layer_norm##channels PARAMETERS(T) {                                                       \
    layer_norm_held<lanes, quads> ARGUMENTS;                                                                 \
  }                                                                                                          \
  SED_KERNEL(layer_norm##channels, PARAMETERS, ARGUMENTS)
SED_LAYER_NORM(32, 4, 2)
SED_LAYER_NORM(64, 8, 2)
SED_LAYER_NORM(128, 16, 2)
SED_LAYER_NORM(256, 16, 4)
SED_LAYER_NORM(512, 32, 4)
SED_LAYER_NORM(1024, 32, 8)
SED_LAYER_NORM(1536, 32, 12)
#undef SED_LAYER_NORM
#undef PARAMETERS
#undef ARGUMENTS
