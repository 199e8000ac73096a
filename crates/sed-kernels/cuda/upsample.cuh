// From score maps to the best map of every output pixel: shared by upsample_argmax.cu and finish.cu.
#pragma once
#include "common.cuh"

namespace upsampling {

// A block makes a tile of the output: a thread for each column, all of its rows in each thread.
constexpr int TILE_COLUMNS = 128, TILE_ROWS = 8;
__device__ inline int tiles_across(int width) { return (width + TILE_COLUMNS - 1) / TILE_COLUMNS; }
constexpr short UNLABELLED = -1; // 65535, as the planes' values have no sign

// The two inputs around an output coordinate, with their weights.
struct Sample {
  int low, high;
  float low_weight, high_weight;
};

// torch's `area_pixel_compute_source_index`. Rounded as the CPU does, step by step, so that both choose alike.
__device__ inline Sample sample(int index, int outputs, int inputs) {
  const float scale = __fdiv_rn((float)inputs, (float)outputs);
  const float source = fmaxf(__fadd_rn(__fmul_rn(scale, __fadd_rn((float)index, 0.5f)), -0.5f), 0.0f);
  const int low = min((int)source, inputs - 1);
  const float high_weight = __fadd_rn(source, -(float)low);
  return {low, min(low + 1, inputs - 1), __fadd_rn(1.0f, -high_weight), high_weight};
}
__device__ inline float blend(float a, float b, float low, float high) {
  return __fadd_rn(__fmul_rn(low, a), __fmul_rn(high, b));
}

// The maps of an image, [count, rows, columns], of which the first `high` rows and `wide` columns count.
template <typename T>
struct Maps {
  const T* scores;
  int count, rows, columns, wide, high;
};

// Thresholds and labels of maps. With `survivors`, those of entry survivors[map] of a vocabulary, and a map is
// written as its label; without (null), map i is entry i and is written as i.
struct Names {
  const unsigned* survivors; // [maps]
  const float* thresholds;   // [entries]; null: all have `threshold`
  const unsigned* labels;    // [entries], rising; null: entry i has label i
  float threshold;

  __device__ int entry(int map) const { return survivors == nullptr ? map : (int)survivors[map]; }
  __device__ float least(int map) const { return thresholds == nullptr ? threshold : thresholds[entry(map)]; }
  __device__ int label(int map) const { return labels == nullptr ? entry(map) : (int)labels[entry(map)]; }
  __device__ short name(int map) const { return (short)(survivors == nullptr ? map : label(map)); }
};

// What is written for an image: planes [height, width] and counts [maps]. The first tiles begin `shift` rows above
// the picture: a choice that lets tiles end where input rows do.
struct Picture {
  int width, height, shift;
  short* indices;
  short* runner_up; // with RANKED
  __half* scores;
  __half* margins;
  unsigned* pixels;
  long long* sums;
};

// The best maps of a thread's pixels, one in each row. RANKED: the second best of other labels, too.
template <bool RANKED>
struct Ranks {
  float score[TILE_ROWS], second_score[TILE_ROWS];
  int map[TILE_ROWS], second[TILE_ROWS];

  __device__ void clear() {
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++) {
      score[r] = second_score[r] = -INFINITY;
      map[r] = second[r] = -1;
    }
  }
  // The next map at a pixel. Labels rise: the maps from `run` on have this one's label, the earlier ones another.
  __device__ void add(int r, float here, int next, int run) {
    const bool better = here > score[r];
    if (RANKED) {
      // The worse of both is second, unless it has the winner's label or is behind the second.
      const bool second_best = (map[r] < run) & (better | (here > second_score[r]));
      const float worse = better ? score[r] : here;
      const int worse_map = better ? map[r] : next;
      second_score[r] = second_best ? worse : second_score[r];
      second[r] = second_best ? worse_map : second[r];
    }
    score[r] = better ? here : score[r];
    map[r] = better ? next : map[r];
  }
};

// Adds a warp's pixels to the counts: those of `map[r]`, -1 for none, with their scores in units of 2^-32, whose sum
// does not depend on its order. Once for each map that has won here. `counts` is null, or [3][maps] in shared memory:
// pixels, and the scores' upper and lower parts in units of 2^-16 and 2^-32, of at most 1024 pixels.
__device__ inline void tally(const int (&map)[TILE_ROWS], const float (&score)[TILE_ROWS], unsigned* counts, int maps,
                             unsigned* pixels, long long* sums) {
  unsigned left = 0; // a bit for each row that is not counted yet
#pragma unroll
  for (int r = 0; r < TILE_ROWS; r++) left |= map[r] >= 0 ? 1u << r : 0u;
  unsigned lanes = __ballot_sync(ALL_LANES, left != 0);
  while (lanes != 0) {
    int own = -1;
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++) own = (left >> r & 1) != 0 ? map[r] : own;
    const int one = __shfl_sync(ALL_LANES, own, __ffs(lanes) - 1);
    unsigned found = 0, upper = 0, lower = 0;
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++) {
      if (map[r] != one) continue;
      const unsigned long long fixed =
          (unsigned long long)(fminf(fmaxf(score[r], 0.0f), 1.0f) * 4294967296.0f);
      found += 1;
      upper += (unsigned)(fixed >> 16);
      lower += (unsigned)fixed & 0xffffu;
      left &= ~(1u << r);
    }
    found = __reduce_add_sync(ALL_LANES, found);
    upper = __reduce_add_sync(ALL_LANES, upper);
    lower = __reduce_add_sync(ALL_LANES, lower);
    if (threadIdx.x % WARP == 0) {
      if (counts != nullptr) {
        atomicAdd(counts + one, found);
        atomicAdd(counts + maps + one, upper);
        atomicAdd(counts + 2 * maps + one, lower);
      } else {
        atomicAdd(pixels + one, found);
        atomicAdd(reinterpret_cast<unsigned long long*>(sums) + one, ((unsigned long long)upper << 16) + lower);
      }
    }
    lanes = __ballot_sync(ALL_LANES, left != 0);
  }
}

// The input rows around a thread's output rows, as offsets, with their weights.
struct Rows {
  int low[TILE_ROWS], high[TILE_ROWS];
  float low_weight[TILE_ROWS], high_weight[TILE_ROWS];
};
// Between which input rows neighbouring output rows lie: always four between the same two, as at the usual four times
// the maps' size; each between the same two as the one above or the next two; or any.
enum Between { FOURS, RISING, ANY };

// The best maps of a thread's pixels. An input row is interpolated once for all output rows beside it.
template <Between BETWEEN, bool RANKED, typename T>
__device__ inline void rank(const Maps<T>& maps, const Names& names, const Sample& column, const Rows& rows,
                            Ranks<RANKED>& best) {
  const long long area = (long long)maps.rows * maps.columns;
  const T* left = maps.scores + column.low;
  const T* right = maps.scores + column.high;
  const auto along = [&](int row) {
    return blend(to_float(left[row]), to_float(right[row]), column.low_weight, column.high_weight);
  };
  int run = 0, label = -1;
  for (int map = 0; map < maps.count; map++, left += area, right += area) {
    if (RANKED && names.label(map) != label) {
      label = names.label(map);
      run = map;
    }
    float upper = along(rows.low[0]), lower = along(rows.high[0]);
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++) {
      const bool moves = BETWEEN == FOURS ? r % 4 == 0 : BETWEEN == ANY || rows.low[r] != rows.low[r - (r > 0)];
      if (r > 0 && moves) {
        upper = BETWEEN == ANY ? along(rows.low[r]) : lower;
        lower = along(rows.high[r]);
        if (BETWEEN == RISING) __syncwarp(); // keeps the branch: predicated, every row would issue all of this
      }
      best.add(r, blend(upper, lower, rows.low_weight[r], rows.high_weight[r]), map, run);
    }
  }
}

// The block's tile of an image, row by row from the left: bilinear samples (`align_corners=False`) of every map;
// `indices` is the best one, the lowest of equals, or 65535 below its threshold. `pixels` counts what each map has won,
// of a contrast word (its threshold is infinite) although `indices` is 65535 there; `sums` their scores in units of
// 2^-32. Both start as zeros. With RANKED also planes: the best score, the best map of another label (the lowest of
// equals; 65535 where there is none or it is a contrast word's), and the best score less that one's. A block adds up in
// shared memory first, for which `counts` (dynamic, 12 bytes a map) may be null. Threads of a warp have one row, so
// only the last blocks' branches diverge.
template <bool RANKED, typename T>
__device__ inline void upsample(const Maps<T>& maps, const Names& names, const Picture& to, unsigned* counts) {
  const int across = tiles_across(to.width), tile = blockIdx.x;
  if (counts != nullptr) {
    for (int i = threadIdx.x; i < 3 * maps.count; i += TILE_COLUMNS) counts[i] = 0;
    __syncthreads();
  }
  const int x = tile % across * TILE_COLUMNS + threadIdx.x, top = tile / across * TILE_ROWS - to.shift;
  const Sample column = sample(min(x, to.width - 1), to.width, maps.wide);
  Rows rows;
  bool fours = true, rising = true;
#pragma unroll
  for (int r = 0; r < TILE_ROWS; r++) {
    const Sample v = sample(max(0, min(top + r, to.height - 1)), to.height, maps.high);
    rows.low[r] = v.low * maps.columns;
    rows.high[r] = v.high * maps.columns;
    rows.low_weight[r] = v.low_weight;
    rows.high_weight[r] = v.high_weight;
    if (r == 0) continue;
    const bool same = rows.low[r] == rows.low[r - 1], next = rows.low[r] == rows.high[r - 1];
    rising &= same || next;
    fours &= r % 4 == 0 ? next && !same : same;
  }
  Ranks<RANKED> best;
  best.clear();
  if (fours) {
    rank<FOURS>(maps, names, column, rows, best);
  } else if (rising) {
    rank<RISING>(maps, names, column, rows, best);
  } else {
    rank<ANY>(maps, names, column, rows, best);
  }
  const long long first = (long long)top * to.width + x; // of these pixels in the planes, if it is inside
#pragma unroll
  for (int r = 0; r < TILE_ROWS; r++) {
    const bool inside = x < to.width && top + r >= 0 && top + r < to.height;
    const int map = best.map[r];
    const float least = map >= 0 ? names.least(map) : INFINITY;
    const bool keep = map >= 0 && best.score[r] >= least;
    if (!inside || (!keep && least != INFINITY)) best.map[r] = -1; // not counted
    if (!inside) continue;
    const long long at = first + r * to.width;
    to.indices[at] = keep ? names.name(map) : UNLABELLED;
    if (RANKED) {
      const int second = best.second[r];
      const bool asked = second >= 0 && names.least(second) != INFINITY;
      const float score = fmaxf(best.score[r], 0.0f); // of no map: minus infinity
      to.scores[at] = from_float<__half>(score);
      to.runner_up[at] = asked ? names.name(second) : UNLABELLED;
      to.margins[at] = from_float<__half>(asked ? __fadd_rn(score, -best.second_score[r]) : score);
    }
  }
  tally(best.map, best.score, counts, maps.count, to.pixels, to.sums);
  if (counts == nullptr) return; // the whole block
  __syncthreads();
  for (int i = threadIdx.x; i < maps.count; i += TILE_COLUMNS) {
    if (counts[i] == 0) continue;
    const unsigned long long upper = counts[maps.count + i];
    atomicAdd(to.pixels + i, counts[i]);
    atomicAdd(reinterpret_cast<unsigned long long*>(to.sums) + i, (upper << 16) + counts[2 * maps.count + i]);
  }
}

} // namespace upsampling
