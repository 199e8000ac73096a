// Settings from the environment, read once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "status.h"

namespace software_cuda {

struct Settings {
  int devices; // SOFTWARE_CUDA_DEVICES
  size_t memory; // SOFTWARE_CUDA_MEMORY, bytes of each device
  int driver_version; // SOFTWARE_CUDA_DRIVER_VERSION
  bool late; // SOFTWARE_CUDA_STREAMS=late
  uint64_t seed; // SOFTWARE_CUDA_SEED
  bool compute; // false with SOFTWARE_CUDA_COMPUTE=off
  unsigned threads; // SOFTWARE_CUDA_THREADS
  std::vector<unsigned> survivors; // SOFTWARE_CUDA_SURVIVORS
};

SHARED const Settings& settings();

// A line on stderr that starts with "software CUDA device: ".
SHARED void explain(const std::string& text);

} // namespace software_cuda
