// Maps as rows of patches, which a product then multiplies.
#include "common.cuh"

// y[map, row, column, i, j] = x[map, size * row + i, size * column + j], each of `channels` values: `x`
// [maps, height, width, channels] whose sides are multiples of the size, `run` = size * channels. Threads take WIDTH
// neighbours of `y`; `run` is a multiple of that. Blocks: (rows of patches over all maps, parts of such a row).
// Floor: the map read and written once.
template <int WIDTH, typename T>
__device__ void patches_of_width(const T* x, T* y, int columns, int size, int run) {
  struct alignas(WIDTH * sizeof(T)) Group {
    T v[WIDTH];
  };
  const unsigned at = (blockIdx.y * blockDim.x + threadIdx.x) * WIDTH, patch = (unsigned)size * run;
  const unsigned in_row = columns * patch;
  if (at >= in_row) return;
  const unsigned column = at / patch, within = at % patch, line = within / run;
  const T* const row = x + (long long)blockIdx.x * in_row; // as many values of `x` as of `y`
  const unsigned from = (line * columns + column) * run + within % run;
  *reinterpret_cast<Group*>(y + (long long)blockIdx.x * in_row + at) = *reinterpret_cast<const Group*>(row + from);
}
#define PARAMETERS(T) (const T* x, T* y, int columns, int size, int run)
template <typename T>
__device__ void patches PARAMETERS(T) {
  patches_of_width<1>(x, y, columns, size, run);
}
// For runs that are a multiple of 4.
template <typename T>
__device__ void patches4 PARAMETERS(T) {
  patches_of_width<4>(x, y, columns, size, run);
}
SED_KERNEL(patches, PARAMETERS, (x, y, columns, size, run))
SED_KERNEL(patches4, PARAMETERS, (x, y, columns, size, run))
#undef PARAMETERS
