// Category early rejection: the pairs that are among the best at some pixel, and the tables of those that stay.
#include "common.cuh"

// Bits whose order is that of the numbers; equal numbers (zeros of both signs) have equal bits, and a NaN is above
// all numbers, so that it is kept and seen at the end. No number has 0.
__device__ inline unsigned ordered(float v) {
  if (v != v) return 0xffffffffu;
  const unsigned bits = __float_as_uint(v + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Reports whether no pair of an image of `count` pairs can be dropped. A group of several pairs may leave some of them
// out however large `top_k` is.
__device__ inline bool keeps_all(unsigned top_k, unsigned count, bool grouped) {
  return top_k == 0 || (!grouped && top_k >= count);
}

// The first word of an image's marks: a bit for each pair, by its number, in words that no other image has.
__device__ inline unsigned first_word(unsigned first_pair, unsigned image) { return first_pair / 32 + image; }

// The logits of an image's pairs `first .. end` at one pixel. Pairs that follow each other and have the same number in
// `groups`, which has one for each entry of the image's vocabulary, compete as one.
template <typename T>
struct PixelLogits {
  const T* logits;
  int pixels;
  const unsigned* groups;
  const unsigned* survivors;
  unsigned first, end;

  __device__ float at(unsigned pair) const { return to_float(logits[(long long)pair * pixels]); }
  __device__ unsigned group(unsigned pair) const { return groups[survivors[pair]]; }
  // True if another pair of the group is better, or equal and before it; false of a NaN.
  __device__ bool is_behind(unsigned pair) const {
    const float v = at(pair);
    const unsigned own = group(pair);
    bool behind = false;
    for (unsigned other = pair; other > first && group(other - 1) == own; other--) behind |= at(other - 1) >= v;
    for (unsigned other = pair + 1; other < end && group(other) == own; other++) behind |= at(other) > v;
    return behind;
  }
  // Bits in the order of the logits; 0 for a pair that does not take part.
  __device__ unsigned key(unsigned pair) const {
    return groups != nullptr && is_behind(pair) ? 0 : ordered(at(pair));
  }
};

// Pairs of an image whose keys the lanes of a warp hold in registers, in pieces: those behind the last pair are left
// out, keys of more pairs are made again each time.
constexpr int HELD_PAIRS = 16;
constexpr int HELD_PIECE = 4;

// Marks the pairs of each image that are among its `top_k[image]` best at one of the pixels of `logits` [pairs,
// pixels]; ties with the last of them are marked. Pairs of image i are `offsets[i] .. offsets[i + 1]`, pair p is
// entry `survivors[p]` of its image's vocabulary. With `groups` [all vocabularies] (may be null; those of image i
// from `starts[i]` on), of the pairs of a group only the best takes part at a pixel. Images that keep all of their
// pairs are left out. Every block writes what it finds to `marks` [blocks in x, words], an image's part from
// `first_word` on: nothing has to be cleared before. One warp for each pixel, whose lanes share the pairs, finds bit
// by bit a value that k of them reach, and no more but for ties. Dynamic shared memory for the words of the image
// with most pairs.
// Blocks: (pixels, images). Floor: the logits read once.
template <typename T>
__device__ void top_k_union(const T* logits, const unsigned* offsets, const unsigned* survivors, const unsigned* top_k,
                            const unsigned* groups, const unsigned* starts, unsigned* marks, int pixels, int words) {
  SED_DYNAMIC_SHARED(unsigned, found);
  const unsigned image = blockIdx.y, k = top_k[image], first = offsets[image], end = offsets[image + 1];
  if (first >= end || keeps_all(k, end - first, groups != nullptr)) return; // the whole block
  const unsigned first_bit = first / 32 * 32, own_words = (end - 1) / 32 - first / 32 + 1;
  for (unsigned i = threadIdx.x; i < own_words; i += blockDim.x) found[i] = 0;
  __syncthreads();
  const int lane = threadIdx.x % WARP;
  const int pixel = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (pixel < pixels) { // the same in a whole warp
    PixelLogits<T> column = {logits + pixel, pixels, groups, survivors, first, end};
    if (groups != nullptr) column.groups += starts[image];
    unsigned held[HELD_PAIRS] = {};
#pragma unroll
    for (int piece = 0; piece < HELD_PAIRS; piece += HELD_PIECE) {
      if (first + piece * WARP >= end) break;
#pragma unroll
      for (int i = piece; i < piece + HELD_PIECE; i++) {
        const unsigned pair = first + lane + i * WARP;
        if (pair < end) held[i] = ordered(column.at(pair));
      }
    }
    if (groups != nullptr) {
#pragma unroll 1 // the search once in the code
      for (int i = 0; i < HELD_PAIRS; i++) {
        const unsigned pair = first + lane + i * WARP;
        if (pair >= end) break;
        const bool behind = column.is_behind(pair);
#pragma unroll
        for (int j = 0; j < HELD_PAIRS; j++) held[j] = j == i && behind ? 0 : held[j]; // registers have no index
      }
    }
    unsigned reached = 0;
    for (unsigned bit = 0x80000000u; bit != 0; bit >>= 1) {
      const unsigned wanted = reached | bit;
      unsigned count = 0;
#pragma unroll
      for (int piece = 0; piece < HELD_PAIRS; piece += HELD_PIECE) {
        if (first + piece * WARP >= end) break;
#pragma unroll
        for (int i = piece; i < piece + HELD_PIECE; i++) count += held[i] >= wanted;
      }
      for (unsigned pair = first + lane + HELD_PAIRS * WARP; pair < end; pair += WARP) {
        count += column.key(pair) >= wanted;
      }
      count = __reduce_add_sync(ALL_LANES, count);
      if (count >= k) reached = wanted;
      if (count == k) break; // in all lanes
    }
    const unsigned least = reached == 0 ? 1 : reached;
    auto mark = [&](unsigned pair) { atomicOr(found + (pair - first_bit) / 32, 1u << pair % 32); };
#pragma unroll
    for (int piece = 0; piece < HELD_PAIRS; piece += HELD_PIECE) {
      if (first + piece * WARP >= end) break;
#pragma unroll
      for (int i = piece; i < piece + HELD_PIECE; i++) {
        if (held[i] >= least) mark(first + lane + i * WARP);
      }
    }
    for (unsigned pair = first + lane + HELD_PAIRS * WARP; pair < end; pair += WARP) {
      if (column.key(pair) >= least) mark(pair);
    }
  }
  __syncthreads();
  unsigned* to = marks + (long long)blockIdx.x * words + first_word(first, image);
  for (unsigned i = threadIdx.x; i < own_words; i += blockDim.x) to[i] = found[i];
}

#define PARAMETERS(T)                                                                                        \
  (const T* logits, const unsigned* offsets, const unsigned* survivors, const unsigned* top_k,               \
   const unsigned* groups, const unsigned* starts, unsigned* marks, int pixels, int words)
SED_KERNEL(top_k_union, PARAMETERS,
           (logits, offsets, survivors, top_k, groups, starts, marks, pixels, words))
#undef PARAMETERS

constexpr int COMPACT_THREADS = 1024;
constexpr int COMPACT_WARPS = COMPACT_THREADS / WARP;

// Tables of pairs: `offsets` [images + 1], `images` and `survivors` [capacity].
struct PairTables {
  const unsigned *offsets, *images, *survivors;
};

// True of a pair that stays, by the marks of all pixels.
struct Staying {
  PairTables pairs;
  const unsigned* top_k;
  const unsigned* marks; // [words]
  bool grouped;
  __device__ bool operator()(unsigned pair) const {
    const unsigned image = pairs.images[pair], first = pairs.offsets[image];
    if (keeps_all(top_k[image], pairs.offsets[image + 1] - first, grouped)) return true;
    return marks[first_word(first, image) + pair / 32 - first / 32] >> pair % 32 & 1;
  }
};

// The tables of the pairs that stay: of those before, with `marks` [parts, words] of `top_k_union`, to `rows`,
// `new_images`, `new_survivors` [capacity], `new_offsets` [images + 1], and their number to `wanted`, which may be
// larger than the capacity: then the last ones are left out. Rows that do not count become 0. One block; threads share
// the pairs in equal runs, whose counts are added up.
// Floor: the tables read and written once.
template <typename T>
__device__ void compact_pairs(const unsigned* offsets, const unsigned* images, const unsigned* survivors,
                              const unsigned* top_k, const unsigned* marks, unsigned* rows, unsigned* new_offsets,
                              unsigned* new_images, unsigned* new_survivors, unsigned* wanted, int image_count,
                              int parts, int words, int capacity, int grouped) {
  SED_DYNAMIC_SHARED(unsigned, joined); // [words]
  SED_SHARED(unsigned, ranks, COMPACT_THREADS);
  SED_SHARED(unsigned, of_warps, COMPACT_WARPS);
  const unsigned thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP;
  for (int i = thread; i < words; i += COMPACT_THREADS) joined[i] = 0;
  __syncthreads();
  for (int word = lane; word < words; word += WARP) {
    unsigned found = 0;
    for (int part = warp; part < parts; part += COMPACT_WARPS) found |= marks[(long long)part * words + word];
    if (found != 0) atomicOr(joined + word, found);
  }
  __syncthreads();
  const Staying stays = {{offsets, images, survivors}, top_k, joined, grouped != 0};
  const unsigned live = offsets[image_count], run = (live + COMPACT_THREADS - 1) / COMPACT_THREADS;
  const unsigned first = min(thread * run, live), end = min(first + run, live);
  unsigned count = 0;
  for (unsigned pair = first; pair < end; pair++) count += stays(pair);
  unsigned rank = count; // of the lanes up to this one
  for (unsigned step = 1; step < WARP; step *= 2) {
    const unsigned before = __shfl_sync(ALL_LANES, rank, lane - step);
    if (lane >= step) rank += before;
  }
  if (lane == WARP - 1) of_warps[warp] = rank;
  __syncthreads();
  unsigned total = 0;
  for (unsigned i = 0; i < COMPACT_WARPS; i++) {
    if (i == warp) rank += total;
    total += of_warps[i];
  }
  rank -= count;
  ranks[thread] = rank;
  __syncthreads();
  const unsigned most = capacity;
  for (unsigned pair = first; pair < end && rank < most; pair++) {
    if (!stays(pair)) continue;
    rows[rank] = pair;
    new_images[rank] = images[pair];
    new_survivors[rank] = survivors[pair];
    rank += 1;
  }
  for (unsigned row = min(total, most) + thread; row < most; row += COMPACT_THREADS) {
    rows[row] = new_images[row] = new_survivors[row] = 0;
  }
  for (unsigned image = thread; image <= (unsigned)image_count; image += COMPACT_THREADS) {
    const unsigned begin = offsets[image];
    unsigned offset = total;
    if (begin < live) {
      offset = ranks[begin / run];
      for (unsigned pair = begin / run * run; pair < begin; pair++) offset += stays(pair);
    }
    new_offsets[image] = min(offset, most);
  }
  if (thread == 0) *wanted = total;
}

#define PARAMETERS(T)                                                                                        \
  (const unsigned* offsets, const unsigned* images, const unsigned* survivors, const unsigned* top_k,        \
   const unsigned* marks, unsigned* rows, unsigned* new_offsets, unsigned* new_images,                       \
   unsigned* new_survivors, unsigned* wanted, int image_count, int parts, int words, int capacity, int grouped)
SED_KERNEL_AS(__launch_bounds__(COMPACT_THREADS), compact_pairs, f32, float, PARAMETERS,
              (offsets, images, survivors, top_k, marks, rows, new_offsets, new_images, new_survivors, wanted,
               image_count, parts, words, capacity, grouped))
#undef PARAMETERS
