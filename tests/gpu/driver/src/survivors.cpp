#include "survivors.h"

#include <algorithm>
#include <atomic>

#include "settings.h"

namespace software_cuda {
namespace {

// Arguments of compact_pairs: rejection.cu.
enum Argument { Offsets, Images, Survivors, TopK, Marks, Rows, NewOffsets, NewImages, NewSurvivors, Wanted, Count };
constexpr size_t CAPACITY = Count + 3;

unsigned* words(const Launch& launch, size_t argument) {
  return reinterpret_cast<unsigned*>(launch.values[argument]);
}

} // namespace

void script_survivors(const std::string& kernel, const Launch& launch) {
  if (kernel.compare(0, 14, "compact_pairs_") != 0 || settings().survivors.empty()) return;
  static std::atomic<size_t> launches{0};
  const unsigned most = settings().survivors[launches++ % settings().survivors.size()];
  const unsigned* offsets = words(launch, Offsets);
  const auto images = static_cast<unsigned>(launch.values[Count]);
  const auto capacity = static_cast<unsigned>(launch.values[CAPACITY]);
  unsigned left = 0;
  unsigned* ends = words(launch, NewOffsets);
  ends[0] = 0;
  for (unsigned image = 0; image < images; image++) {
    const unsigned pairs = offsets[image + 1] - offsets[image];
    const unsigned staying = words(launch, TopK)[image] == 0 ? pairs : std::min(pairs, most);
    for (unsigned pair = offsets[image]; pair < offsets[image] + staying; pair++, left++) {
      if (left >= capacity) continue;
      words(launch, Rows)[left] = pair;
      words(launch, NewImages)[left] = image;
      words(launch, NewSurvivors)[left] = words(launch, Survivors)[pair];
    }
    ends[image + 1] = std::min(left, capacity);
  }
  *words(launch, Wanted) = left;
}

} // namespace software_cuda
