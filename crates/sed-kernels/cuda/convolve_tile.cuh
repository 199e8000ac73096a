// Parts of the convolutions on tensor cores (convolve_tensor.cu, convolve_phases.cu, normed_head.cu). A block loads the
// input under a rectangle of pixels, edges included, into shared memory once; its products read every tap from there by
// ldmatrix, so a step of 16 k is loads of fragments and products, and nothing else.
#pragma once
#include "common.cuh"
#include "tensor_core.cuh"

constexpr int TILE_THREADS = 128;

// Values from one pixel to the next in shared memory: an odd number of 16 bytes, so that eight pixels side by side have
// different banks.
template <int CHANNELS>
constexpr int PIXEL = CHANNELS % 16 == 0 ? CHANNELS + 8 : CHANNELS;

// Words that a lane loads together: factors `b` of two tiles, or of one.
template <int TILES>
struct alignas(TILES == 1 ? 8 : 16) Fragment {
  unsigned word[TILES == 1 ? 2 : 4];
};

// Weights in the order in which lanes want them (src/cuda/tile_taps.rs): a stream of steps, of which the next one is
// loaded while one is multiplied. Behind the last step there is one of zeros.
template <int TILES>
struct Stream {
  static constexpr int LOADS = (TILES + 1) / 2;
  const Fragment<TILES>* at;
  Fragment<TILES> ahead[LOADS];

  // `first`: this warp's part of the first step.
  __device__ Stream(const void* first) : at(static_cast<const Fragment<TILES>*>(first) + threadIdx.x % WARP) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) ahead[i] = at[i * WARP];
  }
  // Loads fragment `i` of the next step in place of this step's. `step`: fragments from one step to the next.
  __device__ void advance(int i, int step) { ahead[i] = at[step + i * WARP]; }
};

// Starts the copies of `rows` x `columns` pixels of an image [height, width, channels], from pixel (top, left) on, to
// `shared`, CHANNELS of them from `image` on; what lies outside is 0. With SPLIT, even columns come before odd ones.
template <int CHANNELS, bool SPLIT, typename T>
__device__ inline void gather(T* shared, const T* image, unsigned rows, unsigned columns, int height, int width,
                              int channels, int top, int left) {
  constexpr unsigned CHUNKS = CHANNELS / 8;
  for (unsigned i = threadIdx.x; i < rows * columns * CHUNKS; i += TILE_THREADS) {
    const unsigned pixel = i / CHUNKS, channel = i % CHUNKS * 8;
    const unsigned row = pixel / columns, column = pixel % columns;
    const int y = top + (int)row, x = left + (int)column;
    const bool inside = (unsigned)y < (unsigned)height && (unsigned)x < (unsigned)width;
    const unsigned place = SPLIT ? row * columns + column % 2 * ((columns + 1) / 2) + column / 2 : pixel;
    const int at = inside ? (y * width + x) * channels + (int)channel : 0;
    copy_async(shared + place * PIXEL<CHANNELS> + channel, image + at, inside);
  }
}

// Values 0 and 1 of a word.
__device__ inline float low_of(unsigned word, __nv_bfloat16) { return __uint_as_float(word << 16); }
__device__ inline float high_of(unsigned word, __nv_bfloat16) { return __uint_as_float(word & 0xffff0000u); }
__device__ inline float low_of(unsigned word, __half) {
  __half v;
  memcpy(&v, &word, 2);
  return __half2float(v);
}
__device__ inline float high_of(unsigned word, __half) { return low_of(word >> 16, __half()); }

// As `gather` of an image [height, width, CHANNELS], but max(scale * x + shift, 0), with `affine` [2, CHANNELS] its
// scales and shifts; outside the image is 0. The pixels of the block's own ROWS x COLUMNS go to `normed` (as the
// image) too, unless it is null. A ring of one pixel lies around them.
template <int CHANNELS, int ROWS, int COLUMNS, typename T>
__device__ inline void gather_normed(T* shared, const T* image, const float* affine, T* normed, int height, int width,
                                     int top, int left) {
  constexpr unsigned CHUNKS = CHANNELS / 8, WIDE = COLUMNS + 2;
  static_assert(TILE_THREADS % CHUNKS == 0, "a thread has the same channels all the time");
  const unsigned channel = threadIdx.x % CHUNKS * 8;
  float scale[8], shift[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    scale[i] = affine[channel + i];
    shift[i] = affine[CHANNELS + channel + i];
  }
#pragma unroll 4
  for (unsigned pixel = threadIdx.x / CHUNKS; pixel < (ROWS + 2) * WIDE; pixel += TILE_THREADS / CHUNKS) {
    const unsigned row = pixel / WIDE, column = pixel % WIDE;
    const int y = top - 1 + (int)row, x = left - 1 + (int)column;
    Fragment<2> values = {};
    if ((unsigned)y < (unsigned)height && (unsigned)x < (unsigned)width) {
      const int at = (y * width + x) * CHANNELS + (int)channel;
      values = *reinterpret_cast<const Fragment<2>*>(image + at);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const unsigned word = values.word[i];
        values.word[i] = pack_relu(low_of(word, T()) * scale[2 * i] + shift[2 * i],
                                   high_of(word, T()) * scale[2 * i + 1] + shift[2 * i + 1], T());
      }
      if (normed != nullptr && row - 1 < ROWS && column - 1 < COLUMNS) {
        *reinterpret_cast<Fragment<2>*>(normed + at) = values;
      }
    }
    *reinterpret_cast<Fragment<2>*>(shared + pixel * PIXEL<CHANNELS> + channel) = values;
  }
}

// acc += the products of BLOCKS blocks of 16 rows, `between` values apart, with the next step of the weights.
template <int BLOCKS, int TILES, typename T>
__device__ inline void multiply_step(float (&acc)[BLOCKS][TILES][4], const T* row, int between, Stream<TILES>& weights,
                                     int step) {
  unsigned a[BLOCKS][4];
#pragma unroll
  for (int r = 0; r < BLOCKS; r++) load_matrices(a[r], row + r * between);
#pragma unroll
  for (int i = 0; i < Stream<TILES>::LOADS; i++) {
#pragma unroll
    for (int c = 2 * i; c < min(2 * i + 2, TILES); c++) {
      const unsigned b[2] = {weights.ahead[i].word[c % 2 * 2], weights.ahead[i].word[c % 2 * 2 + 1]};
#pragma unroll
      for (int r = 0; r < BLOCKS; r++) multiply_tile(acc[r][c], a[r], b, T());
    }
    weights.advance(i, step); // behind the products: before them, they would need a copy
  }
  weights.at += step;
}

// acc += the products of all taps: `place(ty, tx)` is a tap's distance in values from the first one, at which `rows`
// has the row that this lane loads. SIZE 0 stands for `size` of any odd number.
template <int SIZE, int CHANNELS, int BLOCKS, int TILES, typename T, typename Place>
__device__ inline void multiply_taps(float (&acc)[BLOCKS][TILES][4], const T* rows, int size, int between,
                                     Stream<TILES>& weights, int step, Place place) {
  const int taps = SIZE > 0 ? SIZE : size;
  const int half = threadIdx.x % WARP / 16;
  if constexpr (CHANNELS % 16 == 0) {
    constexpr int STEPS = CHANNELS / 16;
    // With 16 products a step, loops cost nothing beside them, while in straight code the compiler loads the weights of
    // many steps at once and runs out of registers.
    constexpr bool STRAIGHT = BLOCKS * TILES < 16;
    [[maybe_unused]] constexpr int UNROLL = STRAIGHT && SIZE > 0 && SIZE <= 3 ? SIZE : 1;
    [[maybe_unused]] constexpr int UNROLL_STEPS = STRAIGHT ? STEPS : 1;
#pragma unroll 1
    for (int ty = 0; ty < taps; ty++) {
#pragma unroll UNROLL
      for (int tx = 0; tx < taps; tx++) {
        const T* tap = rows + place(ty, tx) + half * 8;
#pragma unroll UNROLL_STEPS
        for (int k = 0; k < STEPS; k++) multiply_step(acc, tap + k * 16, between, weights, step);
      }
    }
  } else {
    // Eight channels: a step has two taps, the upper lanes' the second. Behind the last there is none, and its weights
    // are 0.
    static_assert(CHANNELS == 8, "channels come in sixteens, or are eight");
    [[maybe_unused]] constexpr int UNROLL = SIZE > 0 && SIZE <= 3 ? (SIZE * SIZE + 1) / 2 : 1;
#pragma unroll UNROLL
    for (int first = 0; first < taps * taps; first += 2) {
      const int tap = min(first + half, taps * taps - 1);
      multiply_step(acc, rows + place(tap / taps, tap % taps), between, weights, step);
    }
  }
}

// Where a warp's results go, and what is added to them. Channels are counted from `first` on.
template <typename T>
struct Epilogue {
  const float* bias; // [kinds, outputs], may be null
  const T* guide;    // [height, width, outputs] of the image, may be null
  T* y;              // [height, width, outputs] of the image
  float* moments;    // [outputs / 16, parts, 3] of the image, may be null
  int height, width, outputs, kinds, relu, first, part, parts;
};

// Neighbouring values that a lane stores together.
template <int COUNT, typename T>
struct alignas(COUNT * sizeof(T)) Run {
  T v[COUNT];
};

// Edges on which a pixel lies: 1 top, 2 bottom, 4 left, 8 right.
__device__ inline int edges(int y, int x, int height, int width) {
  return (y == 0) | (y == height - 1) << 1 | (x == 0) << 2 | (x == width - 1) << 3;
}

// Writes a warp's results, of which `pixel(row, y, x)` says where each of its rows lies; and mean and squares of each
// group of 16 channels over the warp's pixels: (values, mean, sum of squared deviations).
// Tiles are in fours (or all of them, if fewer), of which a lane has neighbouring channels: see src/cuda/tile_taps.rs.
template <int BLOCKS, int TILES, typename T, typename Pixel>
__device__ inline void finish(float (&acc)[BLOCKS][TILES][4], const Epilogue<T>& to, Pixel pixel) {
  constexpr int FOUR = TILES < 4 ? TILES : 4, RUN = 2 * FOUR, RUNS = TILES / FOUR;
  const int thread = thread_again(), g = thread % WARP / 4, t = thread % 4;
  unsigned inside = 0;
#pragma unroll
  for (int r = 0; r < 2 * BLOCKS; r++) {
    int y, x;
    pixel(r * 8 + g, y, x);
    if (y >= to.height || x >= to.width) continue;
    inside |= 1u << r;
    const int at = (y * to.width + x) * to.outputs + to.first + t * RUN;
    const float* bias = to.bias;
    if (bias != nullptr) {
      bias += to.first + t * RUN + (to.kinds > 1 ? edges(y, x, to.height, to.width) * to.outputs : 0);
    }
#pragma unroll
    for (int q = 0; q < RUNS; q++) {
      if (to.first + q * 32 + t * RUN >= to.outputs) continue;
      Run<RUN, T> guide, out;
      if (to.guide != nullptr) guide = *reinterpret_cast<const Run<RUN, T>*>(to.guide + at + q * 32);
#pragma unroll
      for (int i = 0; i < RUN; i++) {
        float& v = acc[r / 2][q * FOUR + i / 2][r % 2 * 2 + i % 2];
        if (bias != nullptr) v += bias[q * 32 + i];
        if (to.guide != nullptr) v += to_float(guide.v[i]);
        if (to.relu) v = relu(v);
        out.v[i] = from_float<T>(v);
      }
      *reinterpret_cast<Run<RUN, T>*>(to.y + at + q * 32) = out;
    }
  }
  if constexpr (TILES >= 2) {
    if (to.moments == nullptr) return;
    // All lanes of two channel runs, or of four, have a group's values: those whose number differs in these bits.
    auto over_group = [](float v) {
      v += __shfl_xor_sync(ALL_LANES, v, 1);
      if (RUN == 4) v += __shfl_xor_sync(ALL_LANES, v, 2);
      for (int step = 4; step < WARP; step *= 2) v += __shfl_xor_sync(ALL_LANES, v, step);
      return v;
    };
    float count = 0.0f;
#pragma unroll
    for (int r = 0; r < 2 * BLOCKS; r++) count += inside >> r & 1 ? (float)RUN : 0.0f;
    count = over_group(count);
#pragma unroll
    for (int q = 0; q < RUNS; q++) {
      auto sum_of = [&](auto value) {
        float sum = 0.0f;
#pragma unroll
        for (int r = 0; r < 2 * BLOCKS; r++) {
          float row = 0.0f;
#pragma unroll
          for (int i = 0; i < RUN; i++) row += value(acc[r / 2][q * FOUR + i / 2][r % 2 * 2 + i % 2]);
          sum += inside >> r & 1 ? row : 0.0f;
        }
        return over_group(sum);
      };
      const float mean = count > 0.0f ? sum_of([](float v) { return v; }) / count : 0.0f;
      const float squares = sum_of([&](float v) { return (v - mean) * (v - mean); });
      const int group = q * 2 + (RUN == 4 ? 0 : t / 2);
      if (g == 0 && t % (16 / RUN) == 0) {
        float* moments = to.moments + ((long long)group * to.parts + to.part) * 3;
        moments[0] = count;
        moments[1] = mean;
        moments[2] = squares;
      }
    }
  }
}

// Parameters of the convolutions on tensor cores. `x` [images, height, width, channels]; `weight`, `weight2`: streams
// of src/cuda/tile_taps.rs; `bias` [kinds, outputs]: one, or 16 of which a pixel has the one of the edges that it
// lies on; `affine` [images, 2, channels]; `guide` [.., rows of y, outputs], of which `guide_of` names an image's;
// `live` [1]: images that count, null for all; `y` of `outputs` channels; `moments` [images, outputs / 16, parts, 3],
// a part for each warp.
#define TILE_PARAMETERS(T)                                                                                   \
  (const T* x, const T* weight, [[maybe_unused]] const T* x2, [[maybe_unused]] const T* weight2,             \
   [[maybe_unused]] const float* bias,                                                                       \
   [[maybe_unused]] const float* affine, [[maybe_unused]] const T* guide,                                    \
   [[maybe_unused]] const unsigned* guide_of, const unsigned* live, T* y, [[maybe_unused]] float* moments,   \
   int height, int width, [[maybe_unused]] int channels, [[maybe_unused]] int size,                          \
   [[maybe_unused]] int outputs, [[maybe_unused]] int kinds, [[maybe_unused]] int relu)
#define TILE_ARGUMENTS                                                                                       \
  (x, weight, x2, weight2, bias, affine, guide, guide_of, live, y, moments, height, width, channels, size,   \
   outputs, kinds, relu)
// Four blocks of a multiprocessor at least: 128 registers.
#define TILE_KERNEL(name, ...)                                                                                       \
  template <typename T>                                                                                              \
  __device__ void name TILE_PARAMETERS(T) {                                                                          \
    __VA_ARGS__ TILE_ARGUMENTS;                                                                                      \
  }                                                                                                                  \
  SED_KERNEL_AS(__launch_bounds__(TILE_THREADS, 4), name, bf16, __nv_bfloat16, TILE_PARAMETERS, TILE_ARGUMENTS)      \
  SED_KERNEL_AS(__launch_bounds__(TILE_THREADS, 4), name, f16, __half, TILE_PARAMETERS, TILE_ARGUMENTS)
