// The end of a decoder level in 16-bit formats: group norm, ReLU and the 3 x 3 head in one pass.
#include "convolve_tile.cuh"

// normed = max(scale * x + shift, 0) with the `affine` map [images, 2, CHANNELS] of the image, of which `normed` (as
// `x` [images, height, width, CHANNELS]) may be null; logits [images, height, width] = head(normed) + bias, may be
// null. The head's weights are a stream of 8 outputs (src/cuda/tile_taps.rs): the first two add up to the head's in
// f32, the others are 0. `live` [1]: images that count, null for all. Blocks: (tiles of ROWS x WIDE pixels, 1,
// images). Dynamic shared memory: the tile with its edges. Floor: x read, normed and logits written.
template <int CHANNELS, int ROWS, int WIDE, typename T>
__device__ void normed_head(const T* x, const T* weight, const float* bias, const float* affine, const unsigned* live,
                            T* normed, float* logits, int height, int width) {
  constexpr int BLOCKS = ROWS * WIDE / (TILE_THREADS / WARP) / 16, LINE = (WIDE + 2) * PIXEL<CHANNELS>;
  if (live != nullptr && blockIdx.z >= *live) return;
  SED_DYNAMIC_SHARED(T, shared);
  const int tiles_across = (width + WIDE - 1) / WIDE;
  const int top = blockIdx.x / tiles_across * ROWS, left = blockIdx.x % tiles_across * WIDE;
  const long long pixels = (long long)height * width;
  gather_normed<CHANNELS, ROWS, WIDE>(shared, x + blockIdx.z * pixels * CHANNELS, affine + blockIdx.z * 2 * CHANNELS,
                                      normed == nullptr ? nullptr : normed + blockIdx.z * pixels * CHANNELS, height,
                                      width, top, left);
  if (logits == nullptr) return;
  __syncthreads();
  const int first_row = threadIdx.x / WARP * BLOCKS * 16, row = first_row + threadIdx.x % 16;
  float acc[BLOCKS][1][4] = {};
  Stream<1> weights(weight);
  const T* rows = shared + row / WIDE * LINE + row % WIDE * PIXEL<CHANNELS>;
  multiply_taps<3, CHANNELS>(acc, rows, 3, 16 / WIDE * LINE, weights, WARP,
                             [&](int ty, int tx) { return ty * LINE + tx * PIXEL<CHANNELS>; });
  if (threadIdx.x % 4 != 0) return; // the first two outputs are in these lanes
#pragma unroll
  for (int r = 0; r < 2 * BLOCKS; r++) {
    const int at = first_row + r * 8 + threadIdx.x % WARP / 4, y = top + at / WIDE, x = left + at % WIDE;
    if (y >= height || x >= width) continue;
    logits[blockIdx.z * pixels + y * width + x] = acc[r / 2][0][r % 2 * 2] + acc[r / 2][0][r % 2 * 2 + 1] + *bias;
  }
}

#define PARAMETERS(T)                                                                                                \
  (const T* x, const T* weight, const float* bias, const float* affine, const unsigned* live, T* normed,             \
   float* logits, int height, int width)
#define ARGUMENTS (x, weight, bias, affine, live, normed, logits, height, width)
#define HEAD(name, ...)                                                                                              \
  template <typename T>                                                                                              \
  __device__ void name PARAMETERS(T) {                                                                               \
    __VA_ARGS__ ARGUMENTS;                                                                                           \
  }                                                                                                                  \
  SED_KERNEL_AS(__launch_bounds__(TILE_THREADS, 6), name, bf16, __nv_bfloat16, PARAMETERS, ARGUMENTS)                \
  SED_KERNEL_AS(__launch_bounds__(TILE_THREADS, 6), name, f16, __half, PARAMETERS, ARGUMENTS)
HEAD(normed_head64, (normed_head<64, 16, 8, T>))
HEAD(normed_head32, (normed_head<32, 16, 16, T>))
HEAD(normed_head16, (normed_head<16, 16, 16, T>))
#undef HEAD
#undef PARAMETERS
#undef ARGUMENTS
