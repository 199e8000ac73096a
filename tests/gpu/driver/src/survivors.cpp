#include "survivors.h"

#include <algorithm>
#include <atomic>

#include "settings.h"

namespace software_cuda {

void script_survivors(const std::string& kernel, const Launch& launch) {
  // (logits, offsets, top_k, kept, pixels), blocks (pixels, images): rejection.cu.
  if (kernel.compare(0, 12, "top_k_union_") != 0 || settings().survivors.empty()) return;
  static std::atomic<size_t> launches{0};
  const unsigned wanted = settings().survivors[launches++ % settings().survivors.size()];
  const auto* offsets = reinterpret_cast<const unsigned*>(launch.values[1]);
  const auto* top_k = reinterpret_cast<const unsigned*>(launch.values[2]);
  auto* kept = reinterpret_cast<unsigned*>(launch.values[3]);
  for (unsigned image = 0; image < launch.grid[1]; image++) {
    if (top_k[image] == 0) continue;
    for (unsigned pair = offsets[image]; pair < std::min(offsets[image] + wanted, offsets[image + 1]);
         pair++) {
      kept[pair] = 1;
    }
  }
}

} // namespace software_cuda
