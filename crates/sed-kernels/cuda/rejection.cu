// Category early rejection: which maps are among the best at some pixel, or are the best of a group that is.
#include "common.cuh"

// Bits whose order is that of the numbers; equal numbers (zeros of both signs) have equal bits, and a NaN is above
// all numbers, so that it is kept and seen at the end.
__device__ inline unsigned ordered(float v) {
  if (v != v) return 0xffffffffu;
  const unsigned bits = __float_as_uint(v + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Values of a pixel that a lane keeps in registers; those of more than HELD_PAIRS * WARP pairs are read again.
constexpr int HELD_PAIRS = 8;

// Marks in `kept` [pairs] (zero before) the pairs of each image that are among its `top_k[image]` best at one of
// the pixels of `logits` [pairs, pixels]; ties with the last of them are kept. Pairs of image i are
// `offsets[i] .. offsets[i + 1]`; images with top_k 0 are left out. One warp for each pixel, whose lanes share the
// pairs, finds bit by bit a value that k of them reach, and no more but for ties. Blocks: (pixels, images).
// Floor: the logits read once.
template <typename T>
__device__ void top_k_union(const T* logits, const unsigned* offsets, const unsigned* top_k, unsigned* kept,
                            int pixels) {
  const int lane = threadIdx.x % WARP;
  const int pixel = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  const unsigned k = top_k[blockIdx.y];
  if (pixel >= pixels || k == 0) return; // whole warps leave
  const unsigned first = offsets[blockIdx.y] + lane, end = offsets[blockIdx.y + 1];
  const T* column = logits + pixel;
  unsigned held[HELD_PAIRS];
#pragma unroll
  for (int i = 0; i < HELD_PAIRS; i++) {
    const unsigned pair = first + i * WARP;
    held[i] = pair < end ? ordered(to_float(column[(long long)pair * pixels])) : 0; // below every number
  }
  unsigned reached = 0;
  for (unsigned bit = 0x80000000u; bit != 0; bit >>= 1) {
    const unsigned wanted = reached | bit;
    int count = 0;
#pragma unroll
    for (int i = 0; i < HELD_PAIRS; i++) count += held[i] >= wanted;
    for (unsigned pair = first + HELD_PAIRS * WARP; pair < end; pair += WARP) {
      count += ordered(to_float(column[(long long)pair * pixels])) >= wanted;
    }
    for (int step = WARP / 2; step > 0; step /= 2) count += __shfl_xor_sync(ALL_LANES, count, step);
    if (count >= (int)k) reached = wanted;
    if (count == (int)k) break; // in all lanes
  }
  // Warps of several pixels may write here: the same value.
#pragma unroll
  for (int i = 0; i < HELD_PAIRS; i++) {
    if (first + i * WARP < end && held[i] >= reached) kept[first + i * WARP] = 1;
  }
  for (unsigned pair = first + HELD_PAIRS * WARP; pair < end; pair += WARP) {
    if (ordered(to_float(column[(long long)pair * pixels])) >= reached) kept[pair] = 1;
  }
}

#define PARAMETERS(T)                                                                                        \
  (const T* logits, const unsigned* offsets, const unsigned* top_k, unsigned* kept, int pixels)
SED_KERNEL(top_k_union, PARAMETERS, (logits, offsets, top_k, kept, pixels))
#undef PARAMETERS

// Leaves of each group of pairs only the best at every pixel: `masked` [pairs, pixels] is the logit of the
// group's best pair, the lowest of equals, and minus infinity of the others. A NaN stays one. Pairs of group
// i are `starts[i] .. starts[i + 1]`. A thread for each (pixel, group), or for several groups where they are
// more than a grid has blocks; blocks: (pixels, groups).
// Floor: the logits read twice, `masked` written.
template <typename T>
__device__ void best_of_groups(const T* logits, const unsigned* starts, float* masked, int groups,
                               int pixels) {
  const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= pixels) return;
  for (int group = blockIdx.y; group < groups; group += gridDim.y) {
    const unsigned first = starts[group], end = starts[group + 1];
    unsigned best = end;
    float best_value = -INFINITY;
    for (unsigned pair = first; pair < end; pair++) {
      const float value = to_float(logits[(long long)pair * pixels + pixel]);
      if (value > best_value || (best == end && value == value)) {
        best = pair;
        best_value = value;
      }
    }
    for (unsigned pair = first; pair < end; pair++) {
      const float value = to_float(logits[(long long)pair * pixels + pixel]);
      masked[(long long)pair * pixels + pixel] = pair == best || value != value ? value : -INFINITY;
    }
  }
}

#define PARAMETERS(T) (const T* logits, const unsigned* starts, float* masked, int groups, int pixels)
SED_KERNEL(best_of_groups, PARAMETERS, (logits, starts, masked, groups, pixels))
#undef PARAMETERS
