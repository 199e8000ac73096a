// The convolutions of convolve.cu in 16-bit formats on tensor cores: patches are gathered into shared memory
// asynchronously, several steps of k ahead of the products. Channels and outputs come in multiples of 8.
#include "common.cuh"
#include "convolve.cuh"
#include "tensor_core.cuh"

// Pixels of a block: 32 for each of its 4 warps.
constexpr int TENSOR_ROWS = 128;
constexpr int TENSOR_THREADS = TENSOR_ROWS / 32 * WARP;
// Steps of k that are in shared memory together, two products deep.
constexpr int TENSOR_STEPS = 32;
// Values from one row of a tile to the next: 16 bytes more than there are, so that the lanes of a load have
// different banks.
constexpr int TENSOR_STRIDE = TENSOR_STEPS + 8;
// Values of one copy, 16 bytes.
constexpr int TENSOR_CHUNK = 8;
constexpr int TENSOR_CHUNKS = TENSOR_STEPS / TENSOR_CHUNK;
// Rows of the left tile that a thread copies a chunk of.
constexpr int TENSOR_LOADS = TENSOR_ROWS * TENSOR_CHUNKS / TENSOR_THREADS;

// An input `x` [images, height, width, channels] and the block's weights [outputs, size * size * channels]. The first
// tap of output pixel (y, x) is at (y * scale + top, x * scale + left).
template <typename T>
struct Window {
  const T* x;
  const T* weight;
  int height, width, channels, size, scale, top, left;
  __device__ int depth() const { return size * size * channels; }
};

// Starts the copies of steps k0 .. k0 + TENSOR_STEPS of a window: patches of the rows `image`, `py`, `px` (image -1: no
// such row) to `patches` and weights to `weights`.
template <int COLUMNS, typename T>
__device__ inline void gather(const Window<T> w, int k0, const int (&image)[TENSOR_LOADS], const int (&py)[TENSOR_LOADS],
                       const int (&px)[TENSOR_LOADS], int first_output, int outputs, T* patches, T* weights) {
  const int chunk = threadIdx.x % TENSOR_CHUNKS * TENSOR_CHUNK;
  const int row = threadIdx.x / TENSOR_CHUNKS;
  constexpr int ROWS_AT_ONCE = TENSOR_THREADS / TENSOR_CHUNKS;
  const int k = k0 + chunk;
  const bool inside_k = k < w.depth();
  // A chunk never straddles taps: channels are a multiple of 8.
  const int tap = k / w.channels, channel = k % w.channels;
  const int ty = tap / w.size + w.top, tx = tap % w.size + w.left;
#pragma unroll
  for (int i = 0; i < TENSOR_LOADS; i++) {
    const int y = py[i] * w.scale + ty, x = px[i] * w.scale + tx;
    const bool inside = inside_k && image[i] >= 0 && y >= 0 && y < w.height && x >= 0 && x < w.width;
    const long long at = (((long long)image[i] * w.height + y) * w.width + x) * w.channels + channel;
    copy_async(patches + (row + i * ROWS_AT_ONCE) * TENSOR_STRIDE + chunk, w.x + (inside ? at : 0), inside);
  }
  for (int column = row; column < COLUMNS; column += ROWS_AT_ONCE) {
    const bool inside = inside_k && first_output + column < outputs;
    const long long at = (long long)(first_output + column) * w.depth() + k;
    copy_async(weights + column * TENSOR_STRIDE + chunk, w.weight + (inside ? at : 0), inside);
  }
}

// As `convolve_tile` of convolve.cu, but `weight` is [step * step, outputs, size^2 * channels] and `weight2` [outputs,
// size2^2 * channels2]. Blocks: (tiles of TENSOR_ROWS pixels of x, tiles of COLUMNS outputs, phases).
// Floor: 2 * size^2 * channels FLOP an output value (and the same of x2).
template <int COLUMNS, int STAGES, typename T>
__device__ void convolve_on_tensor_cores(const T* x, const T* weight, const T* x2, const T* weight2,
                                         const float* bias, const T* guide, const unsigned* guide_of, T* y,
                                         int images, int height, int width, int channels, int size, int channels2,
                                         int size2, int outputs, int step, int activation) {
  constexpr int PATCHES = TENSOR_ROWS * TENSOR_STRIDE, STAGE = PATCHES + COLUMNS * TENSOR_STRIDE;
  constexpr int TILES = COLUMNS / 8;
  SED_SHARED(T, shared, STAGES * STAGE);
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const int phase_y = blockIdx.z / step, phase_x = blockIdx.z % step;
  const int first_output = blockIdx.y * COLUMNS;
  const long long pixels = (long long)images * height * width, first = (long long)blockIdx.x * TENSOR_ROWS;
  int image[TENSOR_LOADS], py[TENSOR_LOADS], px[TENSOR_LOADS];
#pragma unroll
  for (int i = 0; i < TENSOR_LOADS; i++) {
    const long long m = first + threadIdx.x / TENSOR_CHUNKS + i * (TENSOR_THREADS / TENSOR_CHUNKS);
    const int in_image = m % ((long long)height * width);
    image[i] = m < pixels ? (int)(m / ((long long)height * width)) : -1;
    py[i] = in_image / width;
    px[i] = in_image % width;
  }
  const int edge_y = step == 1 ? -(size / 2) : size == 2 ? phase_y - 1 : 0;
  const int edge_x = step == 1 ? -(size / 2) : size == 2 ? phase_x - 1 : 0;
  Window<T> own = {x, weight, height, width, channels, size, 1, edge_y, edge_x};
  own.weight += (long long)blockIdx.z * outputs * own.depth();
  const Window<T> second = {x2,    weight2, step * height,       step * width,       channels2,
                            size2, step,    phase_y - size2 / 2, phase_x - size2 / 2};
  const int own_steps = (own.depth() + TENSOR_STEPS - 1) / TENSOR_STEPS;
  const int steps = own_steps + (x2 == nullptr ? 0 : (second.depth() + TENSOR_STEPS - 1) / TENSOR_STEPS);
  auto load = [&](int s) {
    if (s < steps) {
      T* patches = shared + s % STAGES * STAGE;
      const bool is_own = s < own_steps;
      const Window<T> window = is_own ? own : second;
      gather<COLUMNS>(window, (is_own ? s : s - own_steps) * TENSOR_STEPS, image, py, px, first_output, outputs,
                      patches, patches + PATCHES);
    }
    commit_copies(); // an empty group keeps the count
  };
  float acc[2][TILES][4] = {};
  for (int s = 0; s < STAGES - 1; s++) load(s);
  const int g = lane / 4, t = lane % 4 * 2;
  for (int s = 0; s < steps; s++) {
    wait_copies<STAGES - 2>();
    __syncthreads(); // all copies of this step have arrived, and all threads have finished the step before
    load(s + STAGES - 1);
    const T* patches = shared + s % STAGES * STAGE + warp * 32 * TENSOR_STRIDE;
    const T* weights = shared + s % STAGES * STAGE + PATCHES;
    auto pair = [&](const T* tile, int row, int k) {
      return *reinterpret_cast<const unsigned*>(tile + row * TENSOR_STRIDE + k);
    };
#pragma unroll
    for (int k = 0; k < TENSOR_STEPS; k += 16) {
      unsigned a[2][4];
#pragma unroll
      for (int r = 0; r < 2; r++) {
        a[r][0] = pair(patches, r * 16 + g, k + t);
        a[r][1] = pair(patches, r * 16 + g + 8, k + t);
        a[r][2] = pair(patches, r * 16 + g, k + t + 8);
        a[r][3] = pair(patches, r * 16 + g + 8, k + t + 8);
      }
#pragma unroll
      for (int c = 0; c < TILES; c++) {
        const unsigned b[2] = {pair(weights, c * 8 + g, k + t), pair(weights, c * 8 + g, k + t + 8)};
#pragma unroll
        for (int r = 0; r < 2; r++) multiply_tile(acc[r][c], a[r], b, T());
      }
    }
  }
  struct alignas(2 * sizeof(T)) Pair {
    T v[2];
  };
#pragma unroll
  for (int r = 0; r < 4; r++) {
    const long long m = first + warp * 32 + r * 8 + g;
    if (m >= pixels) continue;
    const int at_image = (int)(m / ((long long)height * width)), in_image = m % ((long long)height * width);
    const long long pixel =
        ((long long)(in_image / width) * step + phase_y) * step * width + in_image % width * step + phase_x;
    const long long of_image = (long long)step * height * step * width;
    const T* guide_row = guide == nullptr ? nullptr : guide + (guide_of[at_image] * of_image + pixel) * outputs;
    T* row = y + (at_image * of_image + pixel) * outputs;
#pragma unroll
    for (int c = 0; c < TILES; c++) {
      const int o = first_output + c * 8 + t;
      if (o >= outputs) continue;
      Pair out, guided = {};
      if (guide_row != nullptr) guided = *reinterpret_cast<const Pair*>(guide_row + o);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float v = acc[r / 2][c][r % 2 * 2 + i];
        if (bias != nullptr) v += bias[o + i];
        if (guide_row != nullptr) v += to_float(guided.v[i]);
        out.v[i] = from_float<T>(activate(v, activation));
      }
      *reinterpret_cast<Pair*>(row + o) = out;
    }
  }
}

// For more than 32, at most 32 and at most 16 outputs.
#define CONVOLVE(columns, stages)                                                                            \
  template <typename T>                                                                                      \
  __device__ void convolve_tensor##columns CONVOLVE_PARAMETERS(T) {                                          \
    convolve_on_tensor_cores<columns, stages> CONVOLVE_ARGUMENTS;                                            \
  }                                                                                                          \
  SED_KERNEL_OF(convolve_tensor##columns, bf16, __nv_bfloat16, CONVOLVE_PARAMETERS, CONVOLVE_ARGUMENTS)      \
  SED_KERNEL_OF(convolve_tensor##columns, f16, __half, CONVOLVE_PARAMETERS, CONVOLVE_ARGUMENTS)
CONVOLVE(64, 3)
CONVOLVE(32, 3)
CONVOLVE(16, 4)
#undef CONVOLVE
