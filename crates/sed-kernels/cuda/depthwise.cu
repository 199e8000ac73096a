// Depthwise convolution, stride 1, zero padding, and the layer norm behind it.
//
// A thread makes two neighbouring channels of a tile, DEPTHWISE_COLUMNS columns x ROWS rows of the map, from source
// rows that it loads one after the other: a loaded value serves every output that it reaches. A tile is as many lanes
// as it takes for all channels, so that the norm's sums come from registers.
#include "common.cuh"

constexpr int DEPTHWISE_COLUMNS = 8;
// Channels of a group of weights, `taps` [groups, 1 + SIZE^2, 64]: a warp's, the bias before the kernel, padded with
// zeros. So the taps of a thread lie at distances that the compiler knows.
constexpr int DEPTHWISE_GROUP = 2 * WARP;
// Most values of a warp that wait in shared memory for those of the other warps, for all warps of a block:
// 24 times 8, or 16 times 16 or 32.
constexpr int DEPTHWISE_PARTIALS = 512;

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
__device__ inline Channels2 unpacked(unsigned v, __nv_bfloat16) {
  const unsigned bits[2] = {v << 16, v & 0xffff0000u};
  Channels2 two;
  memcpy(&two, bits, sizeof(two));
  return two;
}
__device__ inline Channels2 unpacked(unsigned v, __half) {
  __half halves[2];
  memcpy(halves, &v, sizeof(v));
  return {to_float(halves[0]), to_float(halves[1])};
}
__device__ inline Channels2 packed(Channels2 v, float) { return v; }
template <typename T>
__device__ inline unsigned packed(Channels2 v, T) {
  const T values[2] = {from_float<T>(v.x), from_float<T>(v.y)};
  unsigned bits;
  memcpy(&bits, values, sizeof(bits));
  return bits;
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

// The same over all lanes of a tile: half a warp, a warp, or with `partial` [warps, N] the block.
template <int N>
__device__ inline void tile_sums(float (&v)[N], bool half, bool block, float* partial) {
  constexpr int HELD = N > 16 ? N / 16 : 1;
  half_warp_sums<N>(v);
  if (half) return;
#pragma unroll
  for (int i = 0; i < HELD; i++) v[i] += __shfl_xor_sync(ALL_LANES, v[i], 16);
  if (!block) return;
  const int lane = threadIdx.x % WARP;
  const int first = lane % 16 * N / 16;
  if (lane < 16) {
#pragma unroll
    for (int i = 0; i < HELD; i++) partial[threadIdx.x / WARP * N + first + i] = v[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < HELD; i++) v[i] = 0.0f;
#pragma unroll 4
  for (unsigned warp = 0; warp < blockDim.x / WARP; warp++) {
#pragma unroll
    for (int i = 0; i < HELD; i++) v[i] += partial[warp * N + first + i];
  }
}

// Normalises a tile's pixels over their channels: the mean first, then the squared deviations from it. Lanes without
// channels have zeros and take part with `inside` false. (`fmaf` so that every instantiation rounds alike.)
template <int N>
__device__ void normalise_tile(Channels2 (&acc)[N], Channels2 weight, Channels2 bias, bool inside, bool half, bool block, int channels,
                               float eps) {
  SED_SHARED(float, partial, 2 * DEPTHWISE_PARTIALS);
  constexpr int HELD = N > 16 ? N / 16 : 1;
  const int upper = threadIdx.x & 16;
  float sums[N];
#pragma unroll
  for (int i = 0; i < N; i++) sums[i] = acc[i].x + acc[i].y;
  tile_sums(sums, half, block, partial);
#pragma unroll
  for (int i = 0; i < HELD; i++) sums[i] /= channels;
  float squares[N];
#pragma unroll
  for (int i = 0; i < N; i++) {
    const float mean = __shfl_sync(ALL_LANES, sums[i % HELD], upper + i * 16 / N);
    acc[i].x -= mean;
    acc[i].y -= mean;
    squares[i] = inside ? fmaf(acc[i].x, acc[i].x, acc[i].y * acc[i].y) : 0.0f;
  }
  tile_sums(squares, half, block, partial + DEPTHWISE_PARTIALS);
#pragma unroll
  for (int i = 0; i < HELD; i++) squares[i] = 1.0f / sqrtf(squares[i] / channels + eps);
#pragma unroll
  for (int i = 0; i < N; i++) {
    const float scale = __shfl_sync(ALL_LANES, squares[i % HELD], upper + i * 16 / N);
    acc[i].x = acc[i].x * scale * weight.x + bias.x;
    acc[i].y = acc[i].y * scale * weight.y + bias.y;
  }
}

// A thread's part of a tile.
template <int SIZE, int ROWS, typename T>
struct DepthwiseTile {
  static constexpr int RADIUS = SIZE / 2, COLUMNS = DEPTHWISE_COLUMNS, SPAN = COLUMNS + SIZE - 1;
  static_assert(ROWS <= SIZE, "every source row serves either all output rows, or those before or behind some row");
  using Raw = typename Stored<T>::Type;
  Channels2 sums[ROWS * COLUMNS];
  const char* from; // its first column; where that is outside the map, nothing loads it
  unsigned line; // bytes of a row
  unsigned pixel; // bytes of a pixel
  unsigned columns; // bit by bit those in the map
  const Channels2* taps; // of the source row in output row 0

  __device__ __forceinline__ bool whole() const { return columns == (1u << SPAN) - 1; }
  __device__ __forceinline__ void load(Channels2 (&values)[SPAN]) const {
    if (whole()) {
#pragma unroll
      for (unsigned i = 0; i < SPAN; i++) {
        values[i] = unpacked(*reinterpret_cast<const Raw*>(from + (unsigned long long)pixel * i), T{});
      }
    } else {
#pragma unroll
      for (unsigned i = 0; i < SPAN; i++) {
        values[i] = {0.0f, 0.0f};
        if (columns >> i & 1) {
          values[i] = unpacked(*reinterpret_cast<const Raw*>(from + (unsigned long long)pixel * i), T{});
        }
      }
    }
  }
  // Adds the next source row to output rows `low` to `high`. Other warps work while it is loaded: registers for a row
  // ahead would leave room for fewer.
  __device__ __forceinline__ void add(int low, int high) {
    Channels2 values[SPAN];
    load(values);
    from += line;
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
  __device__ __forceinline__ void store(char* to, int rows) const {
#pragma unroll
    for (int r = 0; r < ROWS; r++, to += line) {
      if (r >= rows) return;
#pragma unroll
      for (unsigned i = 0; i < COLUMNS; i++) {
        if (whole() || columns >> (i + RADIUS) & 1) {
          *reinterpret_cast<Raw*>(to + (unsigned long long)pixel * i) = packed(sums[r * COLUMNS + i], T{});
        }
      }
    }
  }
};

// `x` and `y` [images, height, width, channels] with an even number of channels and less than 4 GiB a row; `taps` as
// above. With `norm_weight`, every pixel is normalised over its channels. Images from `*live` on, where it is given,
// are left out. Blocks: (tiles of a row, groups of tiles of a column, images). A tile is 2^lanes_log threads (4: up to
// 32 channels, 5: up to 64), several of them a block, one below the other; or the whole block (10).
// Floor: the image read and written once, 2 * SIZE^2 FLOP a value.
template <int SIZE, int ROWS, typename T>
__device__ void depthwise_tile(const T* x, const float* taps, const float* norm_weight, const float* norm_bias,
                               const unsigned* live, T* y, int height, int width, int channels, int lanes_log,
                               float eps) {
  constexpr int RADIUS = SIZE / 2;
  DepthwiseTile<SIZE, ROWS, T> tile;
  if (live != nullptr && blockIdx.z >= *live) return;
  const unsigned pairs = channels / 2, pair = threadIdx.x & ((1u << lanes_log) - 1);
  const int tiles = max(static_cast<int>(blockDim.x >> lanes_log), 1);
  const int place = (blockIdx.y * tiles + (threadIdx.x >> lanes_log)) * ROWS;
  // Lanes behind the last channel or row work on the last one, and store nothing.
  const int top = min(place, height - 1), left = blockIdx.x * DEPTHWISE_COLUMNS;
  const int begin = max(RADIUS - top, 0), end = min(ROWS + SIZE - 1, height + RADIUS - top);
  tile.pixel = channels * sizeof(T);
  tile.line = tile.pixel * width;
  const long long line = tile.line; // for signed products
  const long long image = (long long)blockIdx.z * height * line + min(pair, pairs - 1) * (2 * sizeof(T));
  tile.from = reinterpret_cast<const char*>(x) + image + (top + begin - RADIUS) * line +
              (left - RADIUS) * (long long)tile.pixel;
  const int first_column = max(RADIUS - left, 0), columns = min(tile.SPAN, width + RADIUS - left);
  tile.columns = (1u << columns) - (1u << first_column);
  tile.taps = reinterpret_cast<const Channels2*>(taps) + pair / WARP * ((1 + SIZE * SIZE) * WARP) + pair % WARP;
#pragma unroll
  for (int i = 0; i < ROWS * DEPTHWISE_COLUMNS; i++) tile.sums[i] = tile.taps[0];
  tile.taps += (1 + begin * SIZE) * WARP;
  tile.add_all(begin, end);
  if (norm_weight != nullptr) {
    Channels2 weight{}, bias{};
    if (pair < pairs) {
      weight = {norm_weight[2 * pair], norm_weight[2 * pair + 1]};
      bias = {norm_bias[2 * pair], norm_bias[2 * pair + 1]};
    }
    normalise_tile(tile.sums, weight, bias, pair < pairs, lanes_log < 5, lanes_log > 5, channels, eps);
  }
  if (pair >= pairs) return;
  tile.store(reinterpret_cast<char*>(y) + image + top * line + left * (long long)tile.pixel, height - place);
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
                              const unsigned* live, T* y, int height, int width, int channels, int size, float eps) {
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
    const float mean = warp_sum(sum) / channels;
    float squares = 0.0f;
    for (int c = lane; c < channels; c += WARP) {
      const float d = values[c] - mean;
      squares += d * d;
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / channels + eps);
    for (int c = lane; c < channels; c += WARP) {
      out[(long long)i * channels + c] =
          from_float<T>((values[c] - mean) * scale * norm_weight[c] + norm_bias[c]);
    }
  }
}

#define PARAMETERS(T)                                                                                        \
  (const T* x, const float* taps, const float* norm_weight, const float* norm_bias, const unsigned* live,    \
   T* y, int height, int width, int channels, int lanes_log, float eps)
#define ARGUMENTS (x, taps, norm_weight, norm_bias, live, y, height, width, channels, lanes_log, eps)
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
