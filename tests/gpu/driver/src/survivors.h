// Flags that are scripted while nothing is computed.
#pragma once

#include <string>

#include "kernels.h"

namespace software_cuda {

// Marks the first pairs of each image as SOFTWARE_CUDA_SURVIVORS says, if `kernel` is the one that rejects
// pairs.
void script_survivors(const std::string& kernel, const Launch& launch);

} // namespace software_cuda
