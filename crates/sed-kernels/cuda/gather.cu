// Rows of pairs that go on.
#include "common.cuh"

// Pieces of a row that a thread copies.
constexpr int GATHER_PIECES = 4;

// The tensors that are gathered together; those that are absent are null.
template <typename T>
struct GatherTensor {
  const T* x;
  T* y;
  long long width;
};

template <int WIDTH, typename T>
__device__ inline void gather_of_width(const GatherTensor<T> tensor, const unsigned* rows, const unsigned* live) {
  if (live != nullptr && blockIdx.y >= *live) return;
  struct alignas(WIDTH * sizeof(T)) Group {
    T v[WIDTH];
  };
  const long long groups = tensor.width / WIDTH;
  const Group* from = reinterpret_cast<const Group*>(tensor.x) + rows[blockIdx.y] * groups;
  Group* to = reinterpret_cast<Group*>(tensor.y) + blockIdx.y * groups;
  const long long first = (long long)blockIdx.x * GATHER_PIECES * blockDim.x + threadIdx.x;
  Group held[GATHER_PIECES];
#pragma unroll
  for (int i = 0; i < GATHER_PIECES; i++) {
    if (first + i * blockDim.x < groups) held[i] = from[first + i * blockDim.x];
  }
#pragma unroll
  for (int i = 0; i < GATHER_PIECES; i++) {
    if (first + i * blockDim.x < groups) to[first + i * blockDim.x] = held[i];
  }
}

// y_n[i] = x_n[rows[i]] for tensors n = 0, 1, 2: `x_n` [.., width_n], `y_n` [count, width_n]. `rows` [count], of which
// the first `live` count (null: all). Blocks: (parts of the widest row, rows, tensors).
// Floor: live * width_n values read and written.
#define PARAMETERS(T)                                                                                        \
  (const T* x0, const T* x1, const T* x2, const unsigned* rows, const unsigned* live, T* y0, T* y1, T* y2,   \
   long long width0, long long width1, long long width2)
#define ARGUMENTS (x0, x1, x2, rows, live, y0, y1, y2, width0, width1, width2)
#define GATHER(name, width)                                                                                  \
  template <typename T>                                                                                      \
  __device__ void name PARAMETERS(T) {                                                                       \
    const GatherTensor<T> tensor = blockIdx.z == 0   ? GatherTensor<T>{x0, y0, width0}                       \
                                   : blockIdx.z == 1 ? GatherTensor<T>{x1, y1, width1}                       \
                                                     : GatherTensor<T>{x2, y2, width2};                      \
    gather_of_width<width>(tensor, rows, live);                                                              \
  }                                                                                                          \
  SED_KERNEL(name, PARAMETERS, ARGUMENTS)
// `gather_pairs16` is for rows of whole 16 bytes, and tensors that begin at such.
GATHER(gather_pairs, 1)
GATHER(gather_pairs16, 16 / sizeof(T))
#undef GATHER
#undef PARAMETERS
#undef ARGUMENTS
