#include "survivors.h"

#include <algorithm>
#include <atomic>

#include "settings.h"

namespace software_cuda {

void script_survivors(const std::string& kernel, const Launch& launch) {
  // (offsets, images, survivors, top_k, marks, rows, new_offsets, new_images, new_survivors, wanted, image_count,
  // parts, words, capacity, grouped): rejection.cu.
  if (kernel != "compact_pairs_f32" || settings().survivors.empty()) return;
  static std::atomic<size_t> launches{0};
  const unsigned wanted = settings().survivors[launches++ % settings().survivors.size()];
  const auto words = [&](int argument) { return reinterpret_cast<unsigned*>(launch.values[argument]); };
  const unsigned *offsets = words(0), *survivors = words(2), *top_k = words(3);
  unsigned *rows = words(5), *new_offsets = words(6), *new_images = words(7), *new_survivors = words(8);
  const auto images = static_cast<unsigned>(launch.values[10]), capacity = static_cast<unsigned>(launch.values[13]);
  unsigned total = 0;
  for (unsigned image = 0; image < images; image++) {
    new_offsets[image] = std::min(total, capacity);
    const unsigned pairs = offsets[image + 1] - offsets[image];
    const unsigned kept = top_k[image] == 0 ? pairs : std::min(wanted, pairs);
    for (unsigned pair = offsets[image]; pair < offsets[image] + kept; pair++, total++) {
      if (total >= capacity) continue;
      rows[total] = pair;
      new_images[total] = image;
      new_survivors[total] = survivors[pair];
    }
  }
  new_offsets[images] = std::min(total, capacity);
  for (unsigned row = total; row < capacity; row++) rows[row] = new_images[row] = new_survivors[row] = 0;
  *words(9) = total;
}

} // namespace software_cuda
