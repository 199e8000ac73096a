// Small fully connected layers on tensor cores, a warp for 32 rows: the rows stay in registers from the norm before
// the layer to the sums behind it, and weights come through shared memory. 16-bit formats; C channels, 16 to 128.
//
// Fragments of rows are read and written in pieces: of every GROUP channels a lane has PIECE neighbours, although
// a fragment's columns are two of every eight. The weights' columns (rows, for outputs) lie in the order that makes
// up for it (`pieces` in src/cuda/mlp.rs).
#include "common.cuh"
#include "tensor_core.cuh"

// Tiles of 16 rows of a warp: every fragment of weights is used for each.
constexpr int MLP_TILES = 2;
constexpr int MLP_WARP_ROWS = MLP_TILES * 16;
// Warps of a block: with 64 channels, 6 so that two blocks have the registers they want.
constexpr int mlp_warps(int channels) { return channels == 64 ? 6 : 8; }
// Values between two rows in shared memory, 16 bytes more than there are: rows of a matrix have different banks.
constexpr int MLP_PAD = 8;

template <int C>
struct Pieces {
  static constexpr int GROUP = C < 32 ? C : 32, GROUPS = C / GROUP;
  static constexpr int PIECE = GROUP / 4, WORDS = PIECE / 2;
  static constexpr int THREADS = mlp_warps(C) * WARP, ROWS = mlp_warps(C) * MLP_WARP_ROWS;
  struct alignas(PIECE * 2) Piece {
    unsigned words[WORDS];
  };
};

// Rows of a launch that count: all, or those of the first `*live` items of `rows_each` rows.
__device__ inline int live_rows(int rows, const unsigned* live, int rows_each) {
  return live == nullptr ? rows : (int)min((long long)rows, (long long)*live * rows_each);
}

// The row of this lane in half `below` of tile `r`.
__device__ inline int row_of(int r, int below) {
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  return (blockIdx.x * (blockDim.x / WARP) + warp) * MLP_WARP_ROWS + r * 16 + below * 8 + lane / 4;
}

// Reads the block's rows of `x` [rows, C] as left factors; rows that do not count are zeros.
template <int C, typename T>
__device__ inline void load_rows(const T* x, int rows, unsigned (&a)[MLP_TILES][C / 16][4]) {
  using P = Pieces<C>;
  const int at = threadIdx.x % 4 * P::PIECE;
#pragma unroll
  for (int r = 0; r < MLP_TILES; r++) {
#pragma unroll
    for (int below = 0; below < 2; below++) {
      const int row = row_of(r, below);
      const T* from = x + (long long)row * C + at;
#pragma unroll
      for (int j = 0; j < P::GROUPS; j++) {
        typename P::Piece piece = {};
        if (row < rows) piece = *reinterpret_cast<const typename P::Piece*>(from + j * P::GROUP);
#pragma unroll
        for (int i = 0; i < P::WORDS; i++) a[r][(j * P::WORDS + i) / 2][i % 2 * 2 + below] = piece.words[i];
      }
    }
  }
}

// The sum over the four lanes that have a row.
__device__ inline float row_sum(float v) {
  v += __shfl_xor_sync(ALL_LANES, v, 1);
  return v + __shfl_xor_sync(ALL_LANES, v, 2);
}

// Replaces rows by their layer norms, as layer_norm.cu has them: mean and variance in two passes.
template <int C, typename T>
__device__ inline void normalise(unsigned (&a)[MLP_TILES][C / 16][4], const float* weight, const float* bias,
                                 float eps) {
  using P = Pieces<C>;
  const int at = threadIdx.x % 4 * P::PIECE;
  float mean[MLP_TILES * 2], scale[MLP_TILES * 2];
#pragma unroll
  for (int row = 0; row < MLP_TILES * 2; row++) {
    float sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int i = 0; i < C / 8; i++) {
      const unsigned word = a[row / 2][i / 2][i % 2 * 2 + row % 2];
      sum += Packed<T>::low(word) + Packed<T>::high(word);
    }
    mean[row] = row_sum(sum) * (1.0f / C);
#pragma unroll
    for (int i = 0; i < C / 8; i++) {
      const unsigned word = a[row / 2][i / 2][i % 2 * 2 + row % 2];
      const float low = Packed<T>::low(word) - mean[row], high = Packed<T>::high(word) - mean[row];
      squares += low * low;
      squares += high * high;
    }
    scale[row] = 1.0f / sqrtf(row_sum(squares) * (1.0f / C) + eps);
  }
#pragma unroll
  for (int i = 0; i < C / 8; i++) {
    const int channel = i / P::WORDS * P::GROUP + at + i % P::WORDS * 2;
    const float w[2] = {weight[channel], weight[channel + 1]}, b[2] = {bias[channel], bias[channel + 1]};
#pragma unroll
    for (int row = 0; row < MLP_TILES * 2; row++) {
      unsigned& word = a[row / 2][i / 2][i % 2 * 2 + row % 2];
      const float low = (Packed<T>::low(word) - mean[row]) * scale[row] * w[0] + b[0];
      const float high = (Packed<T>::high(word) - mean[row]) * scale[row] * w[1] + b[1];
      word = Packed<T>::of(low, high);
    }
  }
}

// Writes a piece of outputs: `sums` of `count` tiles of 8 columns, plus bias and the addends at the same place.
template <int C, typename T>
__device__ inline void store_piece(const float (&sums)[Pieces<C>::PIECE], const float (&bias)[Pieces<C>::PIECE],
                                   const T* first, const T* second, T* y) {
  using Piece = typename Pieces<C>::Piece;
  Piece one = {}, two = {}, out;
  if (first != nullptr) one = *reinterpret_cast<const Piece*>(first);
  if (second != nullptr) two = *reinterpret_cast<const Piece*>(second);
#pragma unroll
  for (int i = 0; i < Pieces<C>::WORDS; i++) {
    float low = sums[2 * i] + bias[2 * i], high = sums[2 * i + 1] + bias[2 * i + 1];
    if (first != nullptr) {
      low += Packed<T>::low(one.words[i]);
      high += Packed<T>::high(one.words[i]);
    }
    if (second != nullptr) {
      low += Packed<T>::low(two.words[i]);
      high += Packed<T>::high(two.words[i]);
    }
    out.words[i] = Packed<T>::of(low, high);
  }
  *reinterpret_cast<Piece*>(y) = out;
}

// Starts the copies of `HEIGHT` rows of `WIDTH` values, `stride` apart, to shared rows with their pad.
template <int THREADS, int HEIGHT, int WIDTH, typename T>
__device__ inline void copy_tile(const T* from, int stride, T* to) {
  constexpr int CHUNKS = WIDTH / 8;
#pragma unroll
  for (int first = 0; first < HEIGHT * CHUNKS; first += THREADS) {
    const int chunk = first + threadIdx.x;
    if (HEIGHT * CHUNKS % THREADS != 0 && chunk >= HEIGHT * CHUNKS) break;
    const int row = chunk / CHUNKS, column = chunk % CHUNKS * 8;
    copy_async(to + row * (WIDTH + MLP_PAD) + column, from + row * stride + column, true);
  }
}

// The row of a 16 x 16 tile of weights, `stride` values apart, that this lane points `load_matrices` at.
template <typename T>
__device__ inline const T* tile_row(const T* tile, int stride) {
  const int lane = threadIdx.x % WARP;
  return tile + (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8;
}

// Exact GELU, v * Phi(v): Phi(-|v|) is 2 to the power of a polynomial, within 3.2e-7; it falls all the way.
__device__ inline float gelu(float v) {
  const float a = fabsf(v);
  float p = -0.0005188689f;
  p = p * a + 0.0073872507f;
  p = p * a - 0.0525380969f;
  p = p * a - 0.4592766464f;
  p = p * a - 1.1510831118f;
  p = p * a - 1.0000008345f;
  return fmaxf(v, 0.0f) - a * fast_exp2(p);
}

template <int ACTIVATION>
__device__ inline float activated(float v) {
  return ACTIVATION == GELU ? gelu(v) : relu(v);
}

// y = first + second + contract . activation(expand . n + expand_bias) + contract_bias, rows `x`, `first`,
// `second`, `y` [rows, C], with n = layer norm of x, or x where `norm_weight` is null; either addend may be null.
// `expand` [4C, C] and `contract` [C, 4C] in the order of pieces. Blocks: (Pieces<C>::ROWS rows). Hidden values
// stay in registers: the sums of two tiles of the first product are a left factor of the second.
// Floor: 16 * C FLOP a value; x, first, second read, y written.
template <int C, int ACTIVATION, typename T>
__device__ void mlp_of(const T* x, const float* norm_weight, const float* norm_bias, const T* expand,
                       const float* expand_bias, const T* contract, const float* contract_bias, const T* first,
                       const T* second, T* y, int rows, const unsigned* live, int rows_each, float eps) {
  using P = Pieces<C>;
  constexpr int HIDDEN = 4 * C, WIDTH = C <= 32 ? HIDDEN : 32, STEPS = HIDDEN / WIDTH;
  constexpr int EXPAND = C + MLP_PAD, CONTRACT = WIDTH + MLP_PAD;
  constexpr int STAGE = WIDTH * EXPAND + C * CONTRACT, STAGES = STEPS > 1 ? 2 : 1;
  SED_SHARED(T, weights, STAGES * STAGE);
  SED_SHARED(float4, biases, HIDDEN / 2); // of two columns, as all four sums of a lane begin
  rows = live_rows(rows, live, rows_each);
  if ((int)blockIdx.x * P::ROWS >= rows) return; // the whole block
  auto load = [&](int step) {
    T* stage = weights + step % STAGES * STAGE;
    copy_tile<P::THREADS, WIDTH, C>(expand + step * WIDTH * C, C, stage);
    copy_tile<P::THREADS, C, WIDTH>(contract + step * WIDTH, HIDDEN, stage + WIDTH * EXPAND);
    commit_copies();
  };
  load(0);
  for (int i = threadIdx.x; i < HIDDEN / 2; i += P::THREADS) {
    const float low = expand_bias[2 * i], high = expand_bias[2 * i + 1];
    biases[i] = float4{low, high, low, high};
  }
  unsigned a[MLP_TILES][C / 16][4];
  load_rows<C>(x, rows, a);
  if (norm_weight != nullptr) normalise<C, T>(a, norm_weight, norm_bias, eps);
  float sums[MLP_TILES][C / 8][4] = {};
  for (int step = 0; step < STEPS; step++) {
    wait_copies<0>();
    __syncthreads(); // the weights of this step are there, and all threads have finished the step before
    if (step + 1 < STEPS) load(step + 1);
    const T* left = tile_row(weights + step % STAGES * STAGE, EXPAND);
    const T* right = tile_row(weights + step % STAGES * STAGE + WIDTH * EXPAND, CONTRACT);
    const float4* bias = biases + step * (WIDTH / 2) + threadIdx.x % 4;
#pragma unroll(C <= 32 ? 2 : 1)
    for (int h = 0; h < WIDTH; h += 16) {
      float hidden[MLP_TILES][2][4];
      unsigned b[4];
#pragma unroll
      for (int n = 0; n < 2; n++) {
        const float4 start = bias[h / 2 + n * 4];
#pragma unroll
        for (int r = 0; r < MLP_TILES; r++) {
          hidden[r][n][0] = start.x;
          hidden[r][n][1] = start.y;
          hidden[r][n][2] = start.z;
          hidden[r][n][3] = start.w;
        }
      }
#pragma unroll
      for (int k = 0; k < C / 16; k++) {
        load_matrices(b, left + h * EXPAND + k * 16);
#pragma unroll
        for (int r = 0; r < MLP_TILES; r++) {
          multiply_tile(hidden[r][0], a[r][k], {b[0], b[1]}, T());
          multiply_tile(hidden[r][1], a[r][k], {b[2], b[3]}, T());
        }
      }
      unsigned factor[MLP_TILES][4];
#pragma unroll
      for (int r = 0; r < MLP_TILES; r++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* two = hidden[r][i / 2] + i % 2 * 2;
          factor[r][i] = Packed<T>::of(activated<ACTIVATION>(two[0]), activated<ACTIVATION>(two[1]));
        }
      }
#pragma unroll
      for (int c = 0; c < C / 16; c++) {
        load_matrices(b, right + c * 16 * CONTRACT + h);
#pragma unroll
        for (int r = 0; r < MLP_TILES; r++) {
          multiply_tile(sums[r][2 * c], factor[r], {b[0], b[1]}, T());
          multiply_tile(sums[r][2 * c + 1], factor[r], {b[2], b[3]}, T());
        }
      }
    }
  }
#pragma unroll
  for (int j = 0; j < P::GROUPS; j++) {
    const int channel = j * P::GROUP + threadIdx.x % 4 * P::PIECE;
    float bias[P::PIECE];
#pragma unroll
    for (int i = 0; i < P::PIECE; i++) bias[i] = contract_bias[channel + i];
#pragma unroll
    for (int row = 0; row < MLP_TILES * 2; row++) {
      const int m = row_of(row / 2, row % 2);
      if (m >= rows) continue;
      const long long at = (long long)m * C + channel;
      float piece[P::PIECE];
#pragma unroll
      for (int i = 0; i < P::PIECE; i++) piece[i] = sums[row / 2][j * P::WORDS + i / 2][row % 2 * 2 + i % 2];
      store_piece<C>(piece, bias, first == nullptr ? first : first + at, second == nullptr ? second : second + at,
                     y + at);
    }
  }
}

// y = weight . (layer norm of x) + bias: `x` [rows, C], `weight` [outputs, C] in the order of pieces, `y` [rows,
// outputs], outputs in groups of the pieces'. Blocks: (Pieces<C>::ROWS rows).
// Floor: x read, y written; 2 * C FLOP a value.
template <int C, typename T>
__device__ void norm_linear_of(const T* x, const float* norm_weight, const float* norm_bias, const T* weight,
                               const float* bias, T* y, int rows, const unsigned* live, int rows_each,
                               int outputs, float eps) {
  using P = Pieces<C>;
  constexpr int STRIDE = C + MLP_PAD, STAGE = P::GROUP * STRIDE;
  SED_SHARED(T, weights, 2 * STAGE);
  rows = live_rows(rows, live, rows_each);
  if ((int)blockIdx.x * P::ROWS >= rows) return; // the whole block
  auto load = [&](int step) {
    copy_tile<P::THREADS, P::GROUP, C>(weight + step * P::GROUP * C, C, weights + step % 2 * STAGE);
    commit_copies();
  };
  load(0);
  unsigned a[MLP_TILES][C / 16][4];
  load_rows<C>(x, rows, a);
  normalise<C, T>(a, norm_weight, norm_bias, eps);
  const int steps = outputs / P::GROUP;
  for (int step = 0; step < steps; step++) {
    wait_copies<0>();
    __syncthreads(); // the weights of this step are there, and all threads have finished the step before
    if (step + 1 < steps) load(step + 1);
    const T* tile = tile_row(weights + step % 2 * STAGE, STRIDE);
    float sums[MLP_TILES][P::GROUP / 8][4] = {};
#pragma unroll
    for (int k = 0; k < C / 16; k++) {
#pragma unroll
      for (int n = 0; n < P::GROUP / 16; n++) {
        unsigned b[4];
        load_matrices(b, tile + n * 16 * STRIDE + k * 16);
#pragma unroll
        for (int r = 0; r < MLP_TILES; r++) {
          multiply_tile(sums[r][2 * n], a[r][k], {b[0], b[1]}, T());
          multiply_tile(sums[r][2 * n + 1], a[r][k], {b[2], b[3]}, T());
        }
      }
    }
    const int column = step * P::GROUP + threadIdx.x % 4 * P::PIECE;
    float own[P::PIECE];
#pragma unroll
    for (int i = 0; i < P::PIECE; i++) own[i] = bias[column + i];
#pragma unroll
    for (int row = 0; row < MLP_TILES * 2; row++) {
      const int m = row_of(row / 2, row % 2);
      if (m >= rows) continue;
      float piece[P::PIECE];
#pragma unroll
      for (int i = 0; i < P::PIECE; i++) piece[i] = sums[row / 2][i / 2][row % 2 * 2 + i % 2];
      store_piece<C, T>(piece, own, nullptr, nullptr, y + (long long)m * outputs + column);
    }
  }
}

#define MLP(T)                                                                                               \
  (const T* x, const float* norm_weight, const float* norm_bias, const T* expand, const float* expand_bias,  \
   const T* contract, const float* contract_bias, const T* first, const T* second, T* y, int rows,           \
   const unsigned* live, int rows_each, float eps)
#define MLP_ARGUMENTS                                                                                        \
  (x, norm_weight, norm_bias, expand, expand_bias, contract, contract_bias, first, second, y, rows, live,    \
   rows_each, eps)
#define NORM_LINEAR(T)                                                                                       \
  (const T* x, const float* norm_weight, const float* norm_bias, const T* weight, const float* bias, T* y,   \
   int rows, const unsigned* live, int rows_each, int outputs, float eps)
#define NORM_LINEAR_ARGUMENTS                                                                                \
  (x, norm_weight, norm_bias, weight, bias, y, rows, live, rows_each, outputs, eps)
// Kernels for C channels, and blocks of them that a multiprocessor has at least registers for.
#define HALF_KERNELS(name, C, blocks, parameters, arguments)                                                 \
  SED_KERNEL_AS(SED_BOUNDS(C, blocks), name, bf16, __nv_bfloat16, parameters, arguments)                     \
  SED_KERNEL_AS(SED_BOUNDS(C, blocks), name, f16, __half, parameters, arguments)
#define SED_BOUNDS(C, blocks) __launch_bounds__(Pieces<C>::THREADS, blocks)
#define OF_CHANNELS(C, BLOCKS)                                                                               \
  template <typename T>                                                                                      \
  __device__ void mlp_gelu##C MLP(T) {                                                                       \
    mlp_of<C, GELU> MLP_ARGUMENTS;                                                                           \
  }                                                                                                          \
  template <typename T>                                                                                      \
  __device__ void mlp_relu##C MLP(T) {                                                                       \
    mlp_of<C, RELU> MLP_ARGUMENTS;                                                                           \
  }                                                                                                          \
  template <typename T>                                                                                      \
  __device__ void norm_linear##C NORM_LINEAR(T) {                                                            \
    norm_linear_of<C> NORM_LINEAR_ARGUMENTS;                                                                 \
  }                                                                                                          \
  HALF_KERNELS(mlp_gelu##C, C, BLOCKS, MLP, MLP_ARGUMENTS)                                                   \
  HALF_KERNELS(mlp_relu##C, C, BLOCKS, MLP, MLP_ARGUMENTS)                                                   \
  HALF_KERNELS(norm_linear##C, C, BLOCKS, NORM_LINEAR, NORM_LINEAR_ARGUMENTS)
OF_CHANNELS(16, 2)
OF_CHANNELS(32, 2)
OF_CHANNELS(64, 2)
OF_CHANNELS(128, 1)
#undef OF_CHANNELS
#undef HALF_KERNELS
#undef SED_BOUNDS
#undef MLP
#undef MLP_ARGUMENTS
#undef NORM_LINEAR
#undef NORM_LINEAR_ARGUMENTS
