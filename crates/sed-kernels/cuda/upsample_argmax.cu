// From the score maps of one image to the category of every output pixel, without holding categories x height x width.
#include "upsample.cuh"

// As many tiles of the picture as the grid has blocks; upsample.cuh says what is written. `scores` [maps, rows,
// columns]; `thresholds` [maps] may be null: all have `threshold`. `counted` != 0: dynamic shared memory holds counts.
// Floor: the scores read once, `indices` written; 6 FLOP for each (map, output pixel).
template <typename T>
__device__ void upsample_argmax(const T* scores, short* indices, unsigned* pixels, long long* sums, int maps,
                                int rows, int columns, int high, int wide, int height, int width, int shift,
                                int counted, float threshold, const float* thresholds) {
  SED_DYNAMIC_SHARED(unsigned, counts);
  const upsampling::Picture to = {width, height, shift, indices, nullptr, nullptr, nullptr, pixels, sums};
  const upsampling::Maps<T> all = {scores, maps, rows, columns, wide, high};
  upsampling::upsample<false>(all, {nullptr, thresholds, nullptr, threshold}, to, counted != 0 ? counts : nullptr);
}

#define PARAMETERS(T)                                                                                        \
  (const T* scores, short* indices, unsigned* pixels, long long* sums, int maps, int rows, int columns,      \
   int high, int wide, int height, int width, int shift, int counted, float threshold,                       \
   const float* thresholds)
SED_KERNEL(upsample_argmax, PARAMETERS,
           (scores, indices, pixels, sums, maps, rows, columns, high, wide, height, width, shift, counted,
            threshold, thresholds))
#undef PARAMETERS

// Winners and second places of maps with labels [maps], and three planes of them.
// Floor: as above, and three planes written.
template <typename T>
__device__ void upsample_argmax_ranked(const T* scores, short* indices, unsigned* pixels, long long* sums,
                                       int maps, int rows, int columns, int high, int wide, int height,
                                       int width, int shift, int counted, float threshold, const float* thresholds,
                                       const unsigned* labels, __half* score_plane, short* runner_up,
                                       __half* margins) {
  SED_DYNAMIC_SHARED(unsigned, counts);
  const upsampling::Picture to = {width,       height,  shift,  indices, runner_up,
                                  score_plane, margins, pixels, sums};
  const upsampling::Maps<T> all = {scores, maps, rows, columns, wide, high};
  upsampling::upsample<true>(all, {nullptr, thresholds, labels, threshold}, to, counted != 0 ? counts : nullptr);
}

#define PARAMETERS(T)                                                                                        \
  (const T* scores, short* indices, unsigned* pixels, long long* sums, int maps, int rows, int columns,      \
   int high, int wide, int height, int width, int shift, int counted, float threshold,                       \
   const float* thresholds, const unsigned* labels, __half* score_plane, short* runner_up, __half* margins)
SED_KERNEL(upsample_argmax_ranked, PARAMETERS,
           (scores, indices, pixels, sums, maps, rows, columns, high, wide, height, width, shift, counted,
            threshold, thresholds, labels, score_plane, runner_up, margins))
#undef PARAMETERS
