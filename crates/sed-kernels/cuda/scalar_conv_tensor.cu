// The composed head of the cost map in 16-bit formats, on tensor cores.
#include "common.cuh"
#include "tensor_core.cuh"

// Four neighbouring channels. A lane reads those that it holds of a step of 16 at once; the order of channels within a
// step is then another than in memory, the same for both factors.
template <typename T>
__device__ inline void read_channels(const T* from, unsigned (&to)[2]) {
  static_assert(sizeof(T) == 2, "two channels are a word");
  struct alignas(8) Words {
    unsigned v[2];
  };
  const Words words = *reinterpret_cast<const Words*>(from);
  to[0] = words.v[0];
  to[1] = words.v[1];
}

// Rows of a tile inside the map.
constexpr int SCALAR_TILE_ROWS = 8;
// Rows of a tile of an outermost column: those of a product on tensor cores.
constexpr int SCALAR_EDGE_ROWS = 16;

// A map [height, width, channels] and its kernels by edges, [16, size, size, channels]; `zeros` [channels] stand for
// the pixels outside.
template <typename T>
struct ScalarMap {
  const T* x;
  const T* kernels;
  const T* zeros;
  int height, width;
  // By the edges that a row lies on: 1 top, 2 bottom.
  __device__ int kind(int row) const { return (row == 0) | (row == height - 1) << 1; }
};

// Values from one tap to the next in `products`, so that the stores and loads of lanes have different banks.
constexpr int SCALAR_STRIDE = 40;

// Sums of kernel row `ky` for a tile of rows from `first_row` and 33 - SIZE columns from `first_column`, to `sums`
// [SCALAR_TILE_ROWS, 33 - SIZE]; rows whose sum would be over a row outside the map are left out, and the columns are
// not the outermost ones. For each row, all taps of the kernel's row are multiplied with 32 pixels of the map's row
// at once, to `products` [SIZE, SCALAR_STRIDE], and then added along its diagonals.
template <int SIZE, int STEPS, typename T>
__device__ inline void scalar_conv_inside(const ScalarMap<T> map, int ky, int first_row, int first_column,
                                          float* products, float* sums) {
  constexpr int RADIUS = SIZE / 2, CHANNELS = STEPS * 16, COLUMNS = 33 - SIZE, TILES = 32 / 8;
  const int lane = threadIdx.x % WARP, g = lane / 4, channel = lane % 4 * 4;
  struct alignas(8) Pair {
    float v[2];
  };
  float* to = products + g * SCALAR_STRIDE + lane % 4 * 2;
  const int begin = max(first_row, RADIUS - ky);
  const int end = min(first_row + SCALAR_TILE_ROWS, min(map.height, map.height + RADIUS - ky));
  const T* pixels[TILES];
  int advance[TILES];
#pragma unroll
  for (int n = 0; n < TILES; n++) {
    const int column = first_column - RADIUS + n * 8 + g;
    const bool inside = column >= 0 && column < map.width;
    const T* start = map.x + ((long long)(begin + ky - RADIUS) * map.width + column) * CHANNELS;
    pixels[n] = (inside ? start : map.zeros) + channel;
    advance[n] = inside ? map.width * CHANNELS : 0;
  }
  int loaded = -1;
  unsigned taps[STEPS][4];
#pragma unroll 1
  for (int row = begin; row < end; row++) {
    if (map.kind(row) != loaded) {
      loaded = map.kind(row);
      const T* tap = map.kernels + ((loaded * SIZE + ky) * SIZE + g) * CHANNELS + channel;
      const T* tap8 = g + 8 < SIZE ? tap + 8 * CHANNELS : map.zeros + channel;
#pragma unroll
      for (int s = 0; s < STEPS; s++) {
        // Word by word: loads of two would leave them in registers that a product cannot have without moves.
        auto word = [&](const T* from) { return *reinterpret_cast<const unsigned*>(from + s * 16); };
        taps[s][0] = word(tap), taps[s][1] = word(tap8), taps[s][2] = word(tap + 2), taps[s][3] = word(tap8 + 2);
      }
    }
    unsigned held[TILES][STEPS][2];
#pragma unroll
    for (int n = 0; n < TILES; n++) {
#pragma unroll
      for (int s = 0; s < STEPS; s++) read_channels(pixels[n] + s * 16, held[n][s]);
      pixels[n] += advance[n];
    }
    float acc[TILES][4] = {};
#pragma unroll
    for (int n = 0; n < TILES; n++) {
#pragma unroll
      for (int s = 0; s < STEPS; s++) multiply_tile(acc[n], taps[s], held[n][s], T());
    }
#pragma unroll
    for (int n = 0; n < TILES; n++) {
      *reinterpret_cast<Pair*>(to + n * 8) = {{acc[n][0], acc[n][1]}};
      if (g + 8 < SIZE) *reinterpret_cast<Pair*>(to + 8 * SCALAR_STRIDE + n * 8) = {{acc[n][2], acc[n][3]}};
    }
    __syncwarp();
    if (lane < COLUMNS) {
      float sum = 0.0f;
#pragma unroll
      for (int kx = 0; kx < SIZE; kx++) sum += products[kx * SCALAR_STRIDE + lane + kx];
      sums[(row - first_row) * COLUMNS + lane] = sum;
    }
    __syncwarp();
  }
}

// Sums of kernel row `ky` for the pixels of an outermost column in SCALAR_EDGE_ROWS rows from `first_row`, to `sums`
// [rows, 4]: for the kernels of all kinds of rows, of which each row has use for one.
template <int SIZE, int STEPS, typename T>
__device__ inline void scalar_conv_edge(const ScalarMap<T> map, int ky, int first_row, int column, float* sums) {
  constexpr int RADIUS = SIZE / 2, CHANNELS = STEPS * 16;
  const int lane = threadIdx.x % WARP, g = lane / 4, channel = lane % 4 * 4, kind = lane % 4 * 2;
  const int edges = (column == 0) << 2 | (column == map.width - 1) << 3;
  const int from = first_row + g + ky - RADIUS; // and 8 rows further down
  const bool inside = from >= 0 && from < map.height, inside8 = from + 8 >= 0 && from + 8 < map.height;
  float acc[4] = {};
#pragma unroll 1
  for (int kx = max(0, RADIUS - column); kx < min(SIZE, map.width + RADIUS - column); kx++) {
    const T* start = map.x + (column + kx - RADIUS) * CHANNELS + channel;
    const T* zeros = map.zeros + channel;
    const T* pixel = inside ? start + (long long)from * map.width * CHANNELS : zeros;
    const T* pixel8 = inside8 ? start + (long long)(from + 8) * map.width * CHANNELS : zeros;
    const T* taps = g < 4 ? map.kernels + (((g | edges) * SIZE + ky) * SIZE + kx) * CHANNELS + channel : zeros;
#pragma unroll
    for (int s = 0; s < STEPS; s++) {
      unsigned upper[2], lower[2], b[2];
      read_channels(pixel + s * 16, upper);
      read_channels(pixel8 + s * 16, lower);
      read_channels(taps + s * 16, b);
      const unsigned a[4] = {upper[0], lower[0], upper[1], lower[1]};
      multiply_tile(acc, a, b, T());
    }
  }
#pragma unroll
  for (int r = 0; r < 4; r++) {
    if (kind < 4) sums[(r / 2 * 8 + g) * 4 + kind + r % 2] = acc[r];
  }
}

// As `scalar_conv` with 16 kernels of size SIZE for 16 * STEPS channels, of `x`'s format and with zeros for one more
// tap behind them. A block is a tile inside the map, or behind those a tile of the first or last column; each of its
// SIZE warps has a row of the kernel, and their sums are added in the order of the rows. Blocks: (tiles, images).
// Floor: `x` read once.
template <int SIZE, int STEPS, typename T>
__device__ void scalar_conv_on_tensor_cores(const T* x, const T* kernels, const float* biases, float* y, int height,
                                            int width) {
  constexpr int COLUMNS = 33 - SIZE, TILE = SCALAR_TILE_ROWS * COLUMNS;
  static_assert(SCALAR_EDGE_ROWS * 4 <= TILE, "the tile of a column goes where one inside the map does");
  SED_SHARED(float, products, SIZE * SIZE * SCALAR_STRIDE);
  SED_SHARED(float, sums, SIZE * TILE);
  const long long pixels = (long long)height * width;
  const T* zeros = kernels + 16 * SIZE * SIZE * (STEPS * 16);
  const ScalarMap<T> map = {x + blockIdx.y * pixels * (STEPS * 16), kernels, zeros, height, width};
  y += blockIdx.y * pixels;
  const int warp = threadIdx.x / WARP;
  const int across = (max(width - 2, 0) + COLUMNS - 1) / COLUMNS;
  const int inside = across * ((height + SCALAR_TILE_ROWS - 1) / SCALAR_TILE_ROWS);
  if ((int)blockIdx.x < inside) {
    const int first_row = blockIdx.x / across * SCALAR_TILE_ROWS, first_column = 1 + blockIdx.x % across * COLUMNS;
    scalar_conv_inside<SIZE, STEPS>(map, warp, first_row, first_column, products + warp * SIZE * SCALAR_STRIDE,
                                    sums + warp * TILE);
    __syncthreads();
    const int row = first_row + threadIdx.x / COLUMNS, column = first_column + threadIdx.x % COLUMNS;
    if (threadIdx.x >= TILE || row >= height || column >= width - 1) return;
    float sum = biases[map.kind(row)];
#pragma unroll
    for (int ky = 0; ky < SIZE; ky++) {
      const int from = row + ky - SIZE / 2;
      if (from >= 0 && from < height) sum += sums[ky * TILE + threadIdx.x];
    }
    y[(long long)row * width + column] = sum;
  } else {
    const int two = width > 1, tile = blockIdx.x - inside; // a map of one column has one edge of both kinds
    const int first_row = (tile >> two) * SCALAR_EDGE_ROWS, column = (tile & two) == 0 ? 0 : width - 1;
    scalar_conv_edge<SIZE, STEPS>(map, warp, first_row, column, sums + warp * TILE);
    __syncthreads();
    const int row = first_row + threadIdx.x;
    if (threadIdx.x >= SCALAR_EDGE_ROWS || row >= height) return;
    const int kind = map.kind(row);
    float sum = biases[kind | (column == 0) << 2 | (column == width - 1) << 3];
#pragma unroll
    for (int ky = 0; ky < SIZE; ky++) sum += sums[ky * TILE + threadIdx.x * 4 + kind];
    y[(long long)row * width + column] = sum;
  }
}

// 9 x 9 over 80 prompts; blocks of 9 warps.
#define PARAMETERS(T) (const T* x, const T* kernels, const float* biases, float* y, int height, int width)
#define ARGUMENTS (x, kernels, biases, y, height, width)
template <typename T>
__device__ void scalar_conv_tensor PARAMETERS(T) {
  scalar_conv_on_tensor_cores<9, 5> ARGUMENTS;
}
SED_KERNEL_AS(__launch_bounds__(9 * WARP), scalar_conv_tensor, bf16, __nv_bfloat16, PARAMETERS, ARGUMENTS)
SED_KERNEL_AS(__launch_bounds__(9 * WARP), scalar_conv_tensor, f16, __half, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS
