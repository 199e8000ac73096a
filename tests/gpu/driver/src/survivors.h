// Tables of pairs that are scripted while nothing is computed.
#pragma once

#include <string>

#include "kernels.h"

namespace software_cuda {

// Keeps as many first pairs of each image as SOFTWARE_CUDA_SURVIVORS says, if `kernel` is the one that makes the tables
// of the pairs that stay.
void script_survivors(const std::string& kernel, const Launch& launch);

} // namespace software_cuda
