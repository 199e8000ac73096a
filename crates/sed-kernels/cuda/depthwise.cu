// Depthwise convolution, stride 1, zero padding, and the layer norm behind it.
//
// A thread makes two neighbouring channels of a tile, DEPTHWISE_COLUMNS columns x ROWS rows of the map, from source
// rows that it loads one after the other: a loaded value serves every output that it reaches. A tile is as many lanes
// as it takes for all channels, so that the norm's sums come from registers.
#include "common.cuh"
#include "tensor_core.cuh"

constexpr int DEPTHWISE_COLUMNS = 8;
// Channels of a group of weights, `taps` [groups, 1 + SIZE^2, 64]: a warp's, the bias before the kernel, padded with
// zeros. So the taps of a thread lie at distances that the compiler knows.
constexpr int DEPTHWISE_GROUP = 2 * WARP;
// Distance of the sums of one value of N in shared memory, a sum for each warp of a block: for the most warps (16 or
// 24) and three more, and such that eight lanes that read four sums of eight values use all banks.
template <int N>
constexpr int DEPTHWISE_PARTIALS = N > 16 ? 20 : 28;

struct alignas(8) Channels2 {
  float x, y;
};

// Channels2 neighbouring channels as they lie in memory.
template <typename T>
struct Stored {
  using Type = unsigned;
};
template <>
struct Stored<float> {
  using Type = Channels2;
};

__device__ inline Channels2 unpacked(Channels2 v, float) { return v; }
template <typename T>
__device__ inline Channels2 unpacked(unsigned v, T) {
  return {Packed<T>::low(v), Packed<T>::high(v)};
}
__device__ inline Channels2 packed(Channels2 v, float) { return v; }
template <typename T>
__device__ inline unsigned packed(Channels2 v, T) {
  return Packed<T>::of(v.x, v.y);
}

// Sums each of the first LEFT (8, 16 or 32) values over the 16 lanes of half a warp. Lane l then has the sums of value
// l % 16 * LEFT / 16 and, of 32, of the next. The order of a sum is the same for every number of values.
template <int LEFT, int STEP = 8, int N>
__device__ inline void half_warp_sums(float (&v)[N]) {
  constexpr int HALF = LEFT / 2;
  if constexpr (HALF > 0) {
    const bool upper = threadIdx.x & STEP;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
      const float mine = upper ? v[i + HALF] : v[i];
      v[i] = mine + __shfl_xor_sync(ALL_LANES, upper ? v[i] : v[i + HALF], STEP);
    }
  } else {
    v[0] += __shfl_xor_sync(ALL_LANES, v[0], STEP);
  }
  if constexpr (STEP > 1) half_warp_sums<(HALF > 0 ? HALF : 1), STEP / 2>(v);
}

// The same over all lanes of a tile: half a warp, a warp, or by way of `partial` [N, DEPTHWISE_PARTIALS] the block.
template <int N>
__device__ inline void tile_sums(float (&v)[N], bool half, bool block, float* partial) {
  constexpr int HELD = N > 16 ? N / 16 : 1;
  half_warp_sums<N>(v);
  if (half) return;
#pragma unroll
  for (int i = 0; i < HELD; i++) v[i] += __shfl_xor_sync(ALL_LANES, v[i], 16);
  if (!block) return;
  constexpr int STRIDE = DEPTHWISE_PARTIALS<N>;
  // The upper half of a warp has the same sums. It writes zeros behind those of the last warp instead, so that four
  // can be read at a time.
  const bool lower = (threadIdx.x & 16) == 0;
  const int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  partial += threadIdx.x % 16 * N / 16 * STRIDE;
#pragma unroll
  for (int i = 0; i < HELD; i++) partial[i * STRIDE + (lower ? warp : warps + warp % 4)] = lower ? v[i] : 0.0f;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < HELD; i++) v[i] = 0.0f;
  int first = 0;
#pragma unroll 1
  do {
#pragma unroll
    for (int i = 0; i < HELD; i++) {
      const float4 four = *reinterpret_cast<const float4*>(partial + i * STRIDE + first);
      v[i] = v[i] + four.x + four.y + four.z + four.w;
    }
  } while ((first += 4) < warps);
}

// Normalises a tile's pixels over their channels: the mean first, then the squared deviations from it. Lanes without
// channels have zeros and take part with `inside` 0, others with 1. (`fmaf` so that every instantiation rounds alike.)
template <int N>
__device__ void normalise_tile(Channels2 (&acc)[N], Channels2 weight, Channels2 bias, float inside, bool half,
                               bool block, float share, float eps) {
  constexpr int PARTIALS = N * DEPTHWISE_PARTIALS<N>;
  SED_SHARED(float, partial, 2 * PARTIALS);
  constexpr int HELD = N > 16 ? N / 16 : 1;
  float sums[N];
#pragma unroll
  for (int i = 0; i < N; i++) sums[i] = acc[i].x + acc[i].y;
  tile_sums(sums, half, block, partial);
#pragma unroll
  for (int i = 0; i < HELD; i++) sums[i] *= share;
  float squares[N];
#pragma unroll
  for (int i = 0; i < N; i++) {
    const float mean = __shfl_sync(ALL_LANES, sums[i % HELD], i * 16 / N, 16);
    acc[i].x = fmaf(-inside, mean, acc[i].x);
    acc[i].y = fmaf(-inside, mean, acc[i].y);
    squares[i] = fmaf(acc[i].x, acc[i].x, acc[i].y * acc[i].y);
  }
  tile_sums(squares, half, block, partial + PARTIALS);
#pragma unroll
  for (int i = 0; i < HELD; i++) squares[i] = rsqrtf(squares[i] * share + eps);
#pragma unroll
  for (int i = 0; i < N; i++) {
    const float scale = __shfl_sync(ALL_LANES, squares[i % HELD], i * 16 / N, 16);
    acc[i].x = acc[i].x * scale * weight.x + bias.x;
    acc[i].y = acc[i].y * scale * weight.y + bias.y;
  }
}

// `v` of lane `lane` (of this one, or of any where all have the same), unchanged. The compiler keeps what comes from a
// shuffle in a register; else it computes it again in every turn of a loop. Where registers are short, HELD is false.
template <bool HELD>
__device__ inline unsigned held(unsigned v, unsigned lane) {
  return HELD ? __shfl_sync(ALL_LANES, v, lane) : v;
}

// A thread's part of a tile.
template <int SIZE, int ROWS, typename T>
struct DepthwiseTile {
  static constexpr int RADIUS = SIZE / 2, COLUMNS = DEPTHWISE_COLUMNS, SPAN = COLUMNS + SIZE - 1;
  static_assert(ROWS <= SIZE, "every source row serves either all output rows, or those before or behind some row");
  using Raw = typename Stored<T>::Type;
  Channels2 sums[ROWS * COLUMNS];
  const char* from; // its first column; where that is outside the map, nothing loads it
  unsigned width; // of a row, in pixels
  unsigned line; // bytes of a row
  unsigned pixel; // bytes of a pixel
  unsigned step; // the same, for addresses of whole tiles
  unsigned columns; // bit by bit those in the map
  const Channels2* taps; // of the source row in output row 0

  __device__ __forceinline__ bool whole() const { return columns == (1u << SPAN) - 1; }
  // All loads before the first use: they wait for memory together.
  __device__ __forceinline__ void load(Channels2 (&values)[SPAN]) const {
    Raw raw[SPAN];
    if (whole()) {
#pragma unroll
      for (unsigned i = 0; i < SPAN; i++) raw[i] = *reinterpret_cast<const Raw*>(from + wide_product(step, i));
    } else {
#pragma unroll
      for (unsigned i = 0; i < SPAN; i++) {
        raw[i] = Raw{};
        if (columns >> i & 1) raw[i] = *reinterpret_cast<const Raw*>(from + (unsigned long long)pixel * i);
      }
    }
#pragma unroll
    for (unsigned i = 0; i < SPAN; i++) values[i] = unpacked(raw[i], T{});
  }
  // Adds the next source row to output rows `low` to `high`. Other warps work while it is loaded: registers for a row
  // ahead would leave room for fewer.
  __device__ __forceinline__ void add(int low, int high) {
    Channels2 values[SPAN];
    load(values);
    from += wide_product(pixel, width);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      if (r < low || r > high) continue;
#pragma unroll
      for (int kx = 0; kx < SIZE; kx++) {
        const Channels2 w = taps[(kx - r * SIZE) * WARP];
#pragma unroll
        for (int i = 0; i < COLUMNS; i++) {
          sums[r * COLUMNS + i].x += values[i + kx].x * w.x;
          sums[r * COLUMNS + i].y += values[i + kx].y * w.y;
        }
      }
    }
    taps += SIZE * WARP;
  }
  // Adds the source rows `begin .. end`, of which row 0 is the one that only output row 0 needs.
  __device__ __forceinline__ void add_all(int begin, int end) {
    if constexpr (ROWS == 1) {
      int left = end - begin; // at least one
#pragma unroll 1
      do add(0, 0);
      while (--left > 0);
      return;
    }
#pragma unroll
    for (int row = 0; row < ROWS - 1; row++) {
      if (row >= begin && row < end) add(0, row);
    }
#pragma unroll 1
    for (int row = max(begin, ROWS - 1); row < min(end, SIZE); row++) add(0, ROWS - 1);
#pragma unroll
    for (int row = SIZE; row < SIZE + ROWS - 1; row++) {
      if (row >= begin && row < end) add(row - SIZE + 1, ROWS - 1);
    }
  }
  // The first `rows` rows, from `to` on.
  __device__ __forceinline__ void store(char* to, int rows) const {
#pragma unroll
    for (int r = 0; r < ROWS; r++, to += line) {
      if (r >= rows) return;
      if (whole()) {
#pragma unroll
        for (unsigned i = 0; i < COLUMNS; i++) {
          *reinterpret_cast<Raw*>(to + wide_product(step, i)) = packed(sums[r * COLUMNS + i], T{});
        }
      } else {
#pragma unroll
        for (unsigned i = 0; i < COLUMNS; i++) {
          if (columns >> (i + RADIUS) & 1) {
            *reinterpret_cast<Raw*>(to + (unsigned long long)pixel * i) = packed(sums[r * COLUMNS + i], T{});
          }
        }
      }
    }
  }
};

// `x` and `y` [images, height, width, channels] with an even number of channels and less than 4 GiB an image; `taps` as
// above. With `norm_weight`, every pixel is normalised over its channels, of which `share` is one over the number.
// Images from `*live` on, where it is given, are left out. Blocks: (tiles of a row, groups of tiles of a column,
// images). A tile is 2^lanes_log threads (4: up to 32 channels, 5: up to 64), several of them a block, one below the
// other; or the whole block (10).
// Floor: the image read and written once, 2 * SIZE^2 FLOP a value.
template <int SIZE, int ROWS, typename T>
__device__ void depthwise_tile(const T* x, const float* taps, const float* norm_weight, const float* norm_bias,
                               const unsigned* live, T* y, int height, int width, int channels, int lanes_log,
                               float share, float eps) {
  constexpr int RADIUS = SIZE / 2;
  constexpr bool HELD = ROWS < 4; // four rows need all registers
  DepthwiseTile<SIZE, ROWS, T> tile;
  if (live != nullptr && blockIdx.z >= *live) return;
  const unsigned pairs = channels / 2, pair = threadIdx.x & ((1u << lanes_log) - 1);
  const int tiles = max(static_cast<int>(blockDim.x >> lanes_log), 1);
  const int row = (blockIdx.y * tiles + (threadIdx.x >> lanes_log)) * ROWS;
  // Lanes behind the last channel or row work on the last one, and store nothing.
  const int top = min(row, height - 1), left = blockIdx.x * DEPTHWISE_COLUMNS;
  const int begin = max(RADIUS - top, 0), end = min(ROWS + SIZE - 1, height + RADIUS - top);
  tile.width = width;
  tile.pixel = held<HELD>(channels * sizeof(T), 0);
  tile.step = held<HELD>(channels * sizeof(T), 0);
  tile.line = held<HELD>(tile.pixel * width, 0);
  const unsigned first_column = max(RADIUS - left, 0), columns = min(tile.SPAN, width + RADIUS - left);
  tile.columns = held<HELD>((1u << columns) - (1u << first_column), 0);
  const int rows = held<HELD>(pair < pairs ? height - row : 0, threadIdx.x); // none: nothing to store
  const unsigned long long image = blockIdx.z * (unsigned long long)(tile.line * height);
  const unsigned own = min(pair, pairs - 1) * static_cast<unsigned>(2 * sizeof(T));
  const unsigned place = held<HELD>(top * tile.line + left * tile.pixel + own, threadIdx.x);
  tile.from = reinterpret_cast<const char*>(x) + image + (place + (begin - RADIUS) * tile.line) -
              (unsigned long long)tile.pixel * RADIUS;
  tile.taps = reinterpret_cast<const Channels2*>(taps) + pair / WARP * ((1 + SIZE * SIZE) * WARP) + pair % WARP;
#pragma unroll
  for (int i = 0; i < ROWS * DEPTHWISE_COLUMNS; i++) tile.sums[i] = tile.taps[0];
  tile.taps += (1 + begin * SIZE) * WARP;
  tile.add_all(begin, end);
  if (norm_weight != nullptr) {
    const unsigned channel = 2 * min(pair, pairs - 1); // of lanes without channels nothing is stored
    const Channels2 weight = {norm_weight[channel], norm_weight[channel + 1]};
    const Channels2 bias = {norm_bias[channel], norm_bias[channel + 1]};
    normalise_tile(tile.sums, weight, bias, rows > 0 ? 1.0f : 0.0f, lanes_log < 5, lanes_log > 5, share, eps);
  }
  if (rows <= 0) return;
  tile.store(moved(y, image + place), rows);
}

// One channel of DEPTHWISE_COLUMNS pixels from column `left` on; `x` starts the image's channel, `taps` its bias.
template <int SIZE, typename T>
__device__ void depthwise_channel(const T* x, const float* taps, float* sums, int row, int left, int height, int width,
                                  int channels) {
  constexpr int RADIUS = SIZE / 2, SPAN = DEPTHWISE_COLUMNS + SIZE - 1;
#pragma unroll
  for (int i = 0; i < DEPTHWISE_COLUMNS; i++) sums[i] = taps[0];
  for (int ky = 0; ky < SIZE; ky++) {
    const int y = row + ky - RADIUS;
    if (y < 0 || y >= height) continue;
    const T* line = x + (long long)y * width * channels;
    float values[SPAN];
#pragma unroll
    for (int i = 0; i < SPAN; i++) {
      const int column = left + i - RADIUS;
      values[i] = column >= 0 && column < width ? to_float(line[(long long)column * channels]) : 0.0f;
    }
#pragma unroll
    for (int kx = 0; kx < SIZE; kx++) {
      const float w = taps[(1 + ky * SIZE + kx) * DEPTHWISE_GROUP];
#pragma unroll
      for (int i = 0; i < DEPTHWISE_COLUMNS; i++) sums[i] += values[i + kx] * w;
    }
  }
}

// One channel of DEPTHWISE_COLUMNS neighbouring pixels a thread, for channels and sizes of maps that the tiles do not
// take. With `norm_weight`, dynamic shared memory holds DEPTHWISE_COLUMNS * channels floats. Parameters as above, with
// `size` of the kernel for `lanes_log`. Blocks: (column groups, rows, images); threads run over channels.
// Floor: as above.
template <typename T>
__device__ void depthwise_any(const T* x, const float* taps, const float* norm_weight, const float* norm_bias,
                              const unsigned* live, T* y, int height, int width, int channels,
                              int size, float share, float eps) {
  SED_DYNAMIC_SHARED(float, tile);
  if (live != nullptr && blockIdx.z >= *live) return;
  const int left = blockIdx.x * DEPTHWISE_COLUMNS, row = blockIdx.y;
  const int pixels = min(DEPTHWISE_COLUMNS, width - left);
  const T* image = x + (long long)blockIdx.z * height * width * channels;
  T* out = y + (((long long)blockIdx.z * height + row) * width + left) * channels;
  for (int c = threadIdx.x; c < channels; c += blockDim.x) {
    const float* w = taps + c / DEPTHWISE_GROUP * (1 + size * size) * DEPTHWISE_GROUP + c % DEPTHWISE_GROUP;
    float sums[DEPTHWISE_COLUMNS];
    if (size == 3) depthwise_channel<3>(image + c, w, sums, row, left, height, width, channels);
    if (size == 5) depthwise_channel<5>(image + c, w, sums, row, left, height, width, channels);
    if (size == 7) depthwise_channel<7>(image + c, w, sums, row, left, height, width, channels);
    if (size == 9) depthwise_channel<9>(image + c, w, sums, row, left, height, width, channels);
#pragma unroll
    for (int i = 0; i < DEPTHWISE_COLUMNS; i++) {
      if (norm_weight != nullptr) {
        tile[i * channels + c] = sums[i];
      } else if (i < pixels) {
        out[(long long)i * channels + c] = from_float<T>(sums[i]);
      }
    }
  }
  if (norm_weight == nullptr) return; // the whole grid
  __syncthreads();
  const int lane = threadIdx.x % WARP;
  for (int i = threadIdx.x / WARP; i < pixels; i += blockDim.x / WARP) {
    const float* values = tile + i * channels;
    float sum = 0.0f;
    for (int c = lane; c < channels; c += WARP) sum += values[c];
    const float mean = warp_sum(sum) * share;
    float squares = 0.0f;
    for (int c = lane; c < channels; c += WARP) {
      const float d = values[c] - mean;
      squares += d * d;
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) * share + eps);
    for (int c = lane; c < channels; c += WARP) {
      out[(long long)i * channels + c] =
          from_float<T>((values[c] - mean) * scale * norm_weight[c] + norm_bias[c]);
    }
  }
}

#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* taps, const float* norm_weight, const float* norm_bias, const unsigned* live,    \
   T* y, int height, int width, int channels, int lanes_log, float share, float eps)
#define ARGUMENTS (x, taps, norm_weight, norm_bias, live, y, height, width, channels, lanes_log, share, eps)
SED_KERNEL(depthwise_any, PARAMETERS, ARGUMENTS)
// `threads`: the largest block (`ROWS` in Rust); it also holds the registers of four rows to 128.
#define DEPTHWISE_TILE(size, rows, threads)                                                                  \
  template <typename T>                                                                                      \
  __device__ void depthwise##size##x##rows PARAMETERS(T) {                                                   \
    depthwise_tile<size, rows> ARGUMENTS;                                                                    \
  }                                                                                                          \
  SED_KERNEL_BOUNDED(depthwise##size##x##rows, threads, PARAMETERS, ARGUMENTS)
DEPTHWISE_TILE(3, 1, 768)
DEPTHWISE_TILE(3, 2, 512)
DEPTHWISE_TILE(5, 1, 768)
DEPTHWISE_TILE(5, 2, 512)
DEPTHWISE_TILE(5, 4, 512)
DEPTHWISE_TILE(7, 1, 768)
DEPTHWISE_TILE(7, 2, 512)
DEPTHWISE_TILE(7, 4, 512)
DEPTHWISE_TILE(9, 1, 768)
DEPTHWISE_TILE(9, 2, 512)
DEPTHWISE_TILE(9, 4, 512)
#undef DEPTHWISE_TILE
#undef PARAMETERS
#undef ARGUMENTS
