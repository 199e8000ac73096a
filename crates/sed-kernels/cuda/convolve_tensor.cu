// Square convolutions, zero-padded, in 16-bit formats on tensor cores; what their parameters mean is in
// convolve_tile.cuh.
#include "convolve_tile.cuh"

// y = relu(conv(x) + bias), `y` [images, height, width, outputs]. A block has ROWS x WIDE pixels of an image and
// COLUMNS outputs, in DOWN x ACROSS warps. With NORMED, `x` is max(scale * x + shift, 0) with the `affine` map of the
// image, and y = conv(x), of COLUMNS outputs, with its `moments`; a `bias` has `kinds` with SIZE 0 only. SIZE 0
// stands for `size`, and for `channels` that are a multiple of CHANNELS: so many are in shared memory together;
// otherwise there are CHANNELS. Blocks: (tiles of an image, tiles of outputs, images). Dynamic shared memory: the
// tile's input with its edges. Floor: 2 * size^2 * channels FLOP an output value, or x read and y written.
template <int SIZE, int CHANNELS, int COLUMNS, int ROWS, int WIDE, int DOWN, int ACROSS, bool NORMED, typename T>
__device__ void convolve_plain TILE_PARAMETERS(T) {
  static_assert(DOWN * ACROSS * WARP == TILE_THREADS, "warps of a block");
  constexpr int BLOCKS = ROWS * WIDE / DOWN / 16, TILES = COLUMNS / ACROSS / 8;
  if (live != nullptr && blockIdx.z >= *live) return;
  SED_DYNAMIC_SHARED(T, shared);
  const int taps = SIZE > 0 ? SIZE : size, inputs = SIZE > 0 ? CHANNELS : channels;
  const int columns = WIDE + taps - 1, tiles_across = (width + WIDE - 1) / WIDE;
  const int top = blockIdx.x / tiles_across * ROWS, left = blockIdx.x % tiles_across * WIDE;
  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  const int first_row = warp / ACROSS * BLOCKS * 16;
  const long long pixels = (long long)height * width;
  const T* image = x + blockIdx.z * pixels * inputs;
  // A step of weights: 16 k of COLUMNS outputs.
  constexpr int STEP = COLUMNS * 16;
  const int steps = CHANNELS % 16 == 0 ? taps * taps * (inputs / 16) : (taps * taps + 1) / 2 * (inputs / 8);
  Stream<TILES> weights(weight + (long long)blockIdx.y * steps * STEP + warp % ACROSS * (STEP / ACROSS));
  const int row = first_row + lane % 16;
  const T* rows = shared + (row / WIDE * columns + row % WIDE) * PIXEL<CHANNELS>;
  const int line = columns * PIXEL<CHANNELS>;
  float acc[BLOCKS][TILES][4] = {};
  for (int c = 0; c < inputs; c += CHANNELS) {
    if (c > 0) __syncthreads(); // all threads have finished with the channels before
    if constexpr (NORMED) {
      gather_normed<CHANNELS, ROWS, WIDE>(shared, image, affine + blockIdx.z * 2 * CHANNELS, (T*)nullptr, height, width,
                                          top, left);
    } else {
      gather<CHANNELS, false>(shared, image + c, ROWS + taps - 1, columns, height, width, inputs, top - taps / 2,
                              left - taps / 2);
      commit_copies();
      wait_copies<0>();
    }
    __syncthreads();
    multiply_taps<SIZE, CHANNELS>(acc, rows, size, 16 / WIDE * line, weights,
                                  STEP / (TILES == 1 ? 4 : 8),
                                  [&](int ty, int tx) { return ty * line + tx * PIXEL<CHANNELS>; });
  }
  // The same as above, again.
  const int block = block_again(), own_warp = thread_again() / WARP;
  const int across = (width + WIDE - 1) / WIDE, own_top = block / across * ROWS, own_left = block % across * WIDE;
  const int own_row = own_warp / ACROSS * BLOCKS * 16;
  const int parts = gridDim.x * DOWN;
  const Epilogue<T> to = {NORMED ? nullptr : bias,
                          nullptr,
                          y + blockIdx.z * pixels * outputs,
                          NORMED ? moments + (long long)blockIdx.z * (COLUMNS / 16) * parts * 3 : nullptr,
                          height,
                          width,
                          NORMED ? COLUMNS : outputs,
                          SIZE > 0 ? 1 : kinds,
                          NORMED ? 0 : relu,
                          NORMED ? 0 : (int)blockIdx.y * COLUMNS + own_warp % ACROSS * (COLUMNS / ACROSS),
                          block * DOWN + own_warp / ACROSS,
                          parts};
  finish(acc, to, [&](int r, int& py, int& px) {
    py = own_top + (own_row + r) / WIDE;
    px = own_left + (own_row + r) % WIDE;
  });
}

// The embedding of similarities: 80 channels through 7 x 7.
TILE_KERNEL(convolve7_80, (convolve_plain<7, 80, 128, 8, 8, 2, 2, false, T>))
// The fusions' second convolutions.
TILE_KERNEL(convolve3_normed64, (convolve_plain<3, 64, 64, 16, 8, 4, 1, true, T>))
TILE_KERNEL(convolve3_normed32, (convolve_plain<3, 32, 32, 16, 16, 4, 1, true, T>))
TILE_KERNEL(convolve3_normed16, (convolve_plain<3, 16, 16, 16, 16, 4, 1, true, T>))
// Any odd size, channels in the multiples that the name says, outputs in eights: up to 16 of them in a block, and up
// to 32.
TILE_KERNEL(convolve_any64_16, (convolve_plain<0, 64, 16, 8, 8, 4, 1, false, T>))
TILE_KERNEL(convolve_any16_16, (convolve_plain<0, 16, 16, 8, 8, 4, 1, false, T>))
TILE_KERNEL(convolve_any8_16, (convolve_plain<0, 8, 16, 8, 8, 4, 1, false, T>))
TILE_KERNEL(convolve_any64_32, (convolve_plain<0, 64, 32, 8, 8, 4, 1, false, T>))
TILE_KERNEL(convolve_any16_32, (convolve_plain<0, 16, 32, 8, 8, 4, 1, false, T>))
TILE_KERNEL(convolve_any8_32, (convolve_plain<0, 8, 32, 8, 8, 4, 1, false, T>))
