// Loaded modules: the kernels that an image declares.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device.h"
#include "kernels.h"

namespace software_cuda {

struct Function {
  const Kernel* kernel;
  Device* device;
  int shared_limit;
};

struct Module {
  Device* device;
  bool ptx;
  // From PTX: bytes of each parameter by kernel. Machine code is not read: it may hold any kernel of ours.
  std::map<std::string, std::vector<unsigned>> entries;
  std::mutex lock;
  std::map<std::string, std::unique_ptr<Function>> functions;
};

// Fails if the image is none that a driver knows, or PTX of a newer compiler.
CUresult read_module(Device* device, const void* image, std::unique_ptr<Module>* module);

} // namespace software_cuda
