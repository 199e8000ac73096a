// Tables of pairs that are scripted while nothing is computed.
#pragma once

#include <string>

#include "kernels.h"

namespace software_cuda {

// Writes the tables of the first pairs of each image, as many as SOFTWARE_CUDA_SURVIVORS says, if `kernel` is the
// one that makes tables of the pairs that a rejection leaves.
void script_survivors(const std::string& kernel, const Launch& launch);

} // namespace software_cuda
