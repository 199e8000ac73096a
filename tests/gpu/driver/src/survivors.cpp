#include "survivors.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include "settings.h"

namespace software_cuda {
namespace {

uint64_t digest_of(uint64_t address, size_t bytes) {
  const auto* at = reinterpret_cast<const unsigned char*>(address);
  uint64_t lanes[4] = {1, 2, 3, 4};
  size_t i = 0;
  for (; i + 32 <= bytes; i += 32) {
    for (int lane = 0; lane < 4; lane++) {
      uint64_t word;
      memcpy(&word, at + i + 8 * lane, 8);
      lanes[lane] = (lanes[lane] ^ word) * 0x9e3779b97f4a7c15u;
      lanes[lane] ^= lanes[lane] >> 29;
    }
  }
  uint64_t digest = bytes;
  for (; i < bytes; i++) digest = (digest ^ at[i]) * 0x100000001b3u;
  for (const uint64_t lane : lanes) digest = (digest ^ lane) * 0x9e3779b97f4a7c15u;
  return digest;
}

} // namespace

Inputs::Inputs(const Memory& memory, const Kernel& kernel, const Launch& launch) {
  std::vector<uint64_t> written;
  auto is_pointer = [&](size_t i) { return kernel.parameters[i].kind == Parameter::Pointer && launch.values[i]; };
  for (size_t i = 0; i < launch.values.size(); i++) {
    if (is_pointer(i) && kernel.parameters[i].written) written.push_back(memory.around(launch.values[i]).base);
  }
  for (size_t i = 0; i < launch.values.size(); i++) {
    if (!is_pointer(i) || kernel.parameters[i].written) continue;
    const Allocation at = memory.around(launch.values[i]);
    // Views of one allocation may be input and output of the same launch.
    if (std::find(written.begin(), written.end(), at.base) != written.end()) continue;
    inputs_.push_back({i, at.base, at.bytes, digest_of(at.base, at.bytes)});
  }
}

void Inputs::check() const {
  for (const Input& input : inputs_) {
    if (digest_of(input.address, input.bytes) != input.digest) {
      throw std::runtime_error("a write to the input in argument " + std::to_string(input.argument));
    }
  }
}

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
    for (unsigned pair = offsets[image]; pair < std::min(offsets[image] + wanted, offsets[image + 1]); pair++) {
      kept[pair] = 1;
    }
  }
}

} // namespace software_cuda
