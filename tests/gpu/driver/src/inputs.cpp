#include "inputs.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

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
  auto is_pointer = [&](size_t i) {
    return kernel.parameters[i].kind == Parameter::Pointer && launch.values[i];
  };
  for (size_t i = 0; i < launch.values.size(); i++) {
    if (is_pointer(i) && kernel.parameters[i].written)
      written.push_back(memory.around(launch.values[i]).base);
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

} // namespace software_cuda
