// The end of a submission: from the last logits of all its pairs to the category of every output pixel of every image,
// in two launches whatever the number of images.
#include "upsample.cuh"

// An image in the parameters (specs/finish.rs writes them).
struct FinishRecord {
  int width, height, wide, high, shift; // as in upsample.cuh
  float threshold;
  unsigned thresholds, labels; // where lists by entry of its vocabulary begin, in words, or FINISH_NONE
  unsigned indices, plane;     // words before its planes, and of each
  unsigned ranked;             // not 0: with planes of runners-up, scores and margins
};
constexpr unsigned FINISH_NONE = 0xffffffffu;
constexpr int FINISH_EACH = 16; // of a thread

// Scores of logits [pairs, area], in place; not_finite [pairs, parts] counts logits that are not finite, for each block
// by itself, so that nothing has to be zero before; pixels, sums [pairs] are set to zero for `finish`. Blocks: (parts
// of 4096 logits, pairs), of which those behind `live` [1] do nothing. Floor: live * area values read and written.
template <typename T>
__device__ void finish_scores(T* logits, const unsigned* live, unsigned* not_finite, unsigned* pixels, long long* sums,
                              int area) {
  SED_SHARED(unsigned, faults, 1);
  if (blockIdx.y >= live[0]) return; // the whole block
  if (threadIdx.x == 0) {
    faults[0] = 0;
    if (blockIdx.x == 0) {
      pixels[blockIdx.y] = 0;
      sums[blockIdx.y] = 0;
    }
  }
  T* map = logits + (long long)blockIdx.y * area;
  unsigned found = 0;
#pragma unroll
  for (int i = 0; i < FINISH_EACH; i++) {
    const int at = (blockIdx.x * FINISH_EACH + i) * blockDim.x + threadIdx.x;
    if (at >= area) break;
    const float v = to_float(map[at]);
    map[at] = from_float<T>(logistic(v));
    found += !(fabsf(v) < INFINITY);
  }
  found = __reduce_add_sync(ALL_LANES, found);
  __syncthreads();
  if (threadIdx.x % WARP == 0) atomicAdd(faults, found);
  __syncthreads();
  if (threadIdx.x == 0) not_finite[blockIdx.y * gridDim.x + blockIdx.x] = faults[0];
}
#define PARAMETERS(T)                                                                                        \
  (T* logits, const unsigned* live, unsigned* not_finite, unsigned* pixels, long long* sums, int area)
SED_KERNEL_OF(finish_scores, f32, float, PARAMETERS, (logits, live, not_finite, pixels, sums, area))
#undef PARAMETERS

// One tile of one image. Blocks: (tiles of the largest image, images). The maps of an image are the rows
// offsets[image] .. offsets[image + 1] of `scores` [pairs, rows, columns]; map i is entry survivors[i] of the image's
// vocabulary and is written as that entry's label. `planes` holds the planes of all images, `pixels` and `sums` [pairs]
// start as zeros. Dynamic shared memory counts `counted` maps; an image with more is counted without.
template <bool RANKS, typename T>
__device__ inline void finish_tile(const T* scores, const unsigned* offsets, const unsigned* survivors,
                                   const unsigned* parameters, short* planes, unsigned* pixels, long long* sums,
                                   int rows, int columns, int counted) {
  SED_DYNAMIC_SHARED(unsigned, counts);
  const FinishRecord& image = reinterpret_cast<const FinishRecord*>(parameters)[blockIdx.y];
  const int tile_row = blockIdx.x / upsampling::tiles_across(image.width);
  if (tile_row * upsampling::TILE_ROWS - image.shift >= image.height) return; // the whole block
  const long long first = offsets[blockIdx.y];
  const int count = offsets[blockIdx.y + 1] - offsets[blockIdx.y];
  const upsampling::Maps<T> maps = {scores + first * rows * columns, count, rows, columns, image.wide, image.high};
  const unsigned* labels = image.labels == FINISH_NONE ? nullptr : parameters + image.labels;
  const float* thresholds =
      image.thresholds == FINISH_NONE ? nullptr : reinterpret_cast<const float*>(parameters + image.thresholds);
  const upsampling::Names names = {survivors + first, thresholds, labels, image.threshold};
  short* indices = planes + 2ll * image.indices;
  const long long plane = 2ll * image.plane;
  const upsampling::Picture to = {image.width, image.height, image.shift, indices, indices + plane,
                                  reinterpret_cast<__half*>(indices + 2 * plane),
                                  reinterpret_cast<__half*>(indices + 3 * plane), pixels + first, sums + first};
  unsigned* shared = count <= counted ? counts : nullptr;
  if (RANKS && image.ranked != 0) {
    upsampling::upsample<true>(maps, names, to, shared);
  } else {
    upsampling::upsample<false>(maps, names, to, shared);
  }
}

// `finish` is for images without planes but the indices, `finish_ranked` for any.
// Floor: the scores read once, the planes written; 6 FLOP for each (map, output pixel).
#define PARAMETERS(T)                                                                                        \
  (const T* scores, const unsigned* offsets, const unsigned* survivors, const unsigned* parameters,          \
   short* planes, unsigned* pixels, long long* sums, int rows, int columns, int counted)
#define ARGUMENTS (scores, offsets, survivors, parameters, planes, pixels, sums, rows, columns, counted)
template <typename T>
__device__ void finish PARAMETERS(T) {
  finish_tile<false> ARGUMENTS;
}
template <typename T>
__device__ void finish_ranked PARAMETERS(T) {
  finish_tile<true> ARGUMENTS;
}
SED_KERNEL_OF(finish, f32, float, PARAMETERS, ARGUMENTS)
SED_KERNEL_OF(finish_ranked, f32, float, PARAMETERS, ARGUMENTS)
#undef PARAMETERS
#undef ARGUMENTS
