// Category early rejection: which maps are among the best at some pixel.
#include "common.cuh"

// Bits whose order is that of the numbers; equal numbers (zeros of both signs) have equal bits.
__device__ inline unsigned ordered(float v) {
  const unsigned bits = __float_as_uint(v + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Marks in `kept` [pairs] (zero before) the pairs of each image that are among its `top_k[image]` best at one of
// the pixels of `logits` [pairs, pixels]; ties with the last of them are kept. Pairs of image i are
// `offsets[i] .. offsets[i + 1]`; images with top_k 0 are left out. A thread for each pixel finds the k-th
// largest value bit by bit, reading the pixel's column 32 times from the cache. Blocks: (pixels, images).
// Floor: the logits read once.
template <typename T>
__device__ void top_k_union(const T* logits, const unsigned* offsets, const unsigned* top_k, unsigned* kept,
                            int pixels) {
  const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned k = top_k[blockIdx.y];
  if (pixel >= pixels || k == 0) return;
  const unsigned first = offsets[blockIdx.y], end = offsets[blockIdx.y + 1];
  const T* column = logits + pixel;
  unsigned kth = 0;
  for (unsigned bit = 0x80000000u; bit != 0; bit >>= 1) {
    unsigned count = 0;
    for (unsigned pair = first; pair < end; pair++) {
      count += ordered(to_float(column[(long long)pair * pixels])) >= (kth | bit);
    }
    if (count >= k) kth |= bit;
  }
  for (unsigned pair = first; pair < end; pair++) {
    // Threads of several pixels may write here: the same value.
    if (ordered(to_float(column[(long long)pair * pixels])) >= kth) kept[pair] = 1;
  }
}

#define PARAMETERS(T)                                                                                        \
  (const T* logits, const unsigned* offsets, const unsigned* top_k, unsigned* kept, int pixels)
SED_KERNEL(top_k_union, PARAMETERS, (logits, offsets, top_k, kept, pixels))
#undef PARAMETERS
