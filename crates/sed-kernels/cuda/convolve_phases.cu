// Convolutions to twice the size in 16-bit formats on tensor cores; what their parameters mean is in convolve_tile.cuh.
#include "convolve_tile.cuh"

// y = relu(conv(x) + bias), or conv(x) + conv(x2) + guide with its `moments`; `y` [images, 2 * height, 2 * width,
// OUTPUTS]. Output pixels of each of four phases (y % 2, x % 2) have weights of their own: a transposed convolution
// (SIZE 1), or one folded into the convolution behind it (SIZE 2, the window starts at y - 1 + phase), beside which
// `x2` [images, 2 * height, 2 * width, CHANNELS2] is read through 3 x 3 in place. A block has ROWS x WIDE pixels of
// `x` [images, height, width, CHANNELS], and each of its warps one phase of them. Blocks: (tiles of an image, 1,
// images). Dynamic shared memory: the tile's inputs with their edges. Floor: 2 * (size^2 * channels + 9 * channels2)
// FLOP an output value, or x, x2 and guide read and y written.
template <int SIZE, int CHANNELS, int CHANNELS2, int OUTPUTS, int ROWS, int WIDE, typename T>
__device__ void convolve_phases TILE_PARAMETERS(T) {
  constexpr int BLOCKS = ROWS * WIDE / 16, TILES = OUTPUTS / 8, STEP = OUTPUTS * 16;
  // Of the rows of x in shared memory, with a ring of one pixel where the window needs it.
  constexpr bool FOLDED = SIZE == 2;
  constexpr int RING = FOLDED, COLUMNS = WIDE + 2 * RING, LINE = COLUMNS * PIXEL<CHANNELS>;
  if (live != nullptr && blockIdx.z >= *live) return;
  SED_DYNAMIC_SHARED(T, shared);
  const int tiles_across = (width + WIDE - 1) / WIDE;
  const int top = blockIdx.x / tiles_across * ROWS, left = blockIdx.x % tiles_across * WIDE;
  const int phase = threadIdx.x / WARP, phase_y = phase / 2, phase_x = phase % 2;
  const int row = threadIdx.x % 16, row_y = row / WIDE, row_x = row % WIDE;
  const long long pixels = (long long)height * width;
  gather<CHANNELS, false>(shared, x + blockIdx.z * pixels * CHANNELS, ROWS + 2 * RING, COLUMNS, height, width, CHANNELS,
                          top - RING, left - RING);
  commit_copies();
  T* shared2 = shared + (ROWS + 2 * RING) * LINE;
  if constexpr (CHANNELS2 > 0) {
    gather<CHANNELS2, true>(shared2, x2 + blockIdx.z * 4 * pixels * CHANNELS2, 2 * ROWS + 2, 2 * WIDE + 2, 2 * height,
                            2 * width, CHANNELS2, 2 * top - 1, 2 * left - 1);
    commit_copies();
  }
  constexpr int LOADED = STEP / (TILES == 1 ? 4 : 8);
  float acc[BLOCKS][TILES][4] = {};
  Stream<TILES> weights(weight + phase * (SIZE * SIZE * (CHANNELS / 16)) * STEP);
  wait_copies<(CHANNELS2 > 0)>();
  __syncthreads();
  const T* rows = shared + (row_y + phase_y * RING) * LINE + (row_x + phase_x * RING) * PIXEL<CHANNELS>;
  multiply_taps<SIZE, CHANNELS>(acc, rows, SIZE, 16 / WIDE * LINE, weights, LOADED,
                                [&](int ty, int tx) { return ty * LINE + tx * PIXEL<CHANNELS>; });
  if constexpr (CHANNELS2 > 0) {
    // Even columns come first, so that pixels of a phase lie side by side.
    constexpr int EVEN = WIDE + 1, LINE2 = 2 * EVEN * PIXEL<CHANNELS2>;
    weights = Stream<TILES>(weight2);
    wait_copies<0>();
    __syncthreads();
    const T* rows2 = shared2 + (2 * row_y + phase_y) * LINE2 + row_x * PIXEL<CHANNELS2>;
    multiply_taps<3, CHANNELS2>(acc, rows2, 3, 16 / WIDE * 2 * LINE2, weights, LOADED, [&](int ty, int tx) {
      const int column = phase_x + tx;
      return ty * LINE2 + (column % 2 * EVEN + column / 2) * PIXEL<CHANNELS2>;
    });
  }
  // The same as above, again.
  const int block = block_again(), own_phase = thread_again() / WARP;
  const int across = (width + WIDE - 1) / WIDE, own_top = block / across * ROWS, own_left = block % across * WIDE;
  const int parts = gridDim.x * 4;
  const Epilogue<T> to = {FOLDED ? nullptr : bias,
                          FOLDED ? guide + guide_of[blockIdx.z] * 4 * pixels * OUTPUTS : nullptr,
                          y + blockIdx.z * 4 * pixels * OUTPUTS,
                          FOLDED ? moments + (long long)blockIdx.z * (OUTPUTS / 16) * parts * 3 : nullptr,
                          2 * height,
                          2 * width,
                          OUTPUTS,
                          1,
                          FOLDED ? 0 : relu,
                          0,
                          block * 4 + own_phase,
                          parts};
  finish(acc, to, [&](int r, int& py, int& px) {
    py = 2 * (own_top + r / WIDE) + own_phase / 2;
    px = 2 * (own_left + r % WIDE) + own_phase % 2;
  });
}

// Cost-map guidance, and the fusions' first convolutions.
TILE_KERNEL(phases1_80, (convolve_phases<1, 80, 0, 32, 8, 8, T>))
TILE_KERNEL(phases1_32, (convolve_phases<1, 32, 0, 16, 8, 8, T>))
TILE_KERNEL(phases1_16, (convolve_phases<1, 16, 0, 8, 8, 8, T>))
TILE_KERNEL(phases2_128, (convolve_phases<2, 128, 32, 64, 4, 8, T>))
TILE_KERNEL(phases2_64, (convolve_phases<2, 64, 16, 32, 8, 8, T>))
TILE_KERNEL(phases2_32, (convolve_phases<2, 32, 8, 16, 8, 8, T>))
