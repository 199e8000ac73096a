// Inputs of a launch, which must stay as they are.
#pragma once

#include <vector>

#include "kernels.h"
#include "memory.h"

namespace software_cuda {

// Digests of a launch's inputs. A launch that writes one has a mistake that its results may not show.
class Inputs {
 public:
  Inputs(const Memory& memory, const Kernel& kernel, const Launch& launch);
  void check() const; // throws std::runtime_error

 private:
  struct Input {
    size_t argument;
    uint64_t address;
    size_t bytes;
    uint64_t digest;
  };
  std::vector<Input> inputs_;
};

} // namespace software_cuda
