// Modules, functions and launches.
#include <cstring>
#include <stdexcept>

#include "device.h"
#include "faults.h"
#include "inputs.h"
#include "ledger.h"
#include "module.h"
#include "settings.h"
#include "survivors.h"

using namespace software_cuda;

namespace {

constexpr int SHARED_WITHOUT_ASKING = 48 * 1024, SHARED_MOST = 227 * 1024;

// Whether the PTX declares the parameters that our version of the kernel takes.
bool same_parameters(const Kernel& kernel, const std::vector<unsigned>& declared) {
  bool same = kernel.parameters.size() == declared.size();
  for (size_t i = 0; same && i < declared.size(); i++) same = kernel.parameters[i].bytes == declared[i];
  if (!same)
    explain("kernel " + kernel.name + " of the loaded PTX takes other parameters than its version here");
  return same;
}

std::string json_of(const Device* device, const Parameter& parameter, uint64_t bits) {
  float number;
  switch (parameter.kind) {
    case Parameter::Pointer: {
      const Allocation at = device->memory.around(bits);
      return "{\"pointer\":" + std::to_string(bits ? at.base + at.bytes - bits : 0) +
             ",\"element\":" + std::to_string(parameter.element) +
             ",\"written\":" + (parameter.written ? "true" : "false") + "}";
    }
    case Parameter::I32: return "{\"i32\":" + std::to_string(static_cast<int32_t>(bits)) + "}";
    case Parameter::I64: return "{\"i64\":" + std::to_string(static_cast<int64_t>(bits)) + "}";
    case Parameter::F32: {
      memcpy(&number, &bits, 4);
      char text[32];
      snprintf(text, sizeof text, "%.9g", static_cast<double>(number));
      // JSON has no infinities.
      return std::string("{\"f32\":") + (number - number == 0 ? text : "null") + "}";
    }
    default: return "{\"bytes\":" + std::to_string(parameter.bytes) + "}";
  }
}

void note(Stream* stream, const Kernel& kernel, const Launch& launch) {
  if (!has_ledger()) return;
  auto three = [](const unsigned* sizes) {
    return "[" + std::to_string(sizes[0]) + "," + std::to_string(sizes[1]) + "," + std::to_string(sizes[2]) +
           "]";
  };
  std::string arguments;
  for (size_t i = 0; i < launch.values.size(); i++) {
    arguments += (i ? "," : "") + json_of(stream->device, kernel.parameters[i], launch.values[i]);
  }
  Entry entry("kernel");
  entry.number("device", stream->device->number).number("stream", stream->number).text("name", kernel.name);
  entry.raw("grid", three(launch.grid)).raw("block", three(launch.block)).number("shared", launch.shared);
  entry.raw("args", "[" + arguments + "]");
  if (stream->capturing()) entry.flag("captured", true);
}

// Runs a launch when its turn has come: pointers first, red zones and inputs afterwards.
void run(Device* device, const Kernel& kernel, const Launch& launch) {
  const Memory& memory = device->memory;
  std::vector<uint64_t> used;
  for (size_t i = 0; i < launch.values.size(); i++) {
    const Parameter& parameter = kernel.parameters[i];
    if (parameter.kind != Parameter::Pointer || launch.values[i] == 0) continue;
    memory.check(launch.values[i], 0, parameter.element, kernel.name + ", argument " + std::to_string(i));
    used.push_back(launch.values[i]);
  }
  if (!settings().compute) {
    script_survivors(kernel.name, launch);
    return;
  }
  try {
    // With several streams another one may rightly write elsewhere in an input's allocation.
    const bool alone = device->stream_count <= 2;
    const Inputs inputs(memory, kernel, alone ? launch : Launch{});
    kernel.run(launch);
    inputs.check();
  } catch (const std::runtime_error& error) {
    throw Illegal{CUDA_ERROR_LAUNCH_FAILED, kernel.name + ": " + error.what()};
  }
  for (const uint64_t address : used) memory.check_red_zones(address, kernel.name);
}

// An injected fault at a launch. True if the launch answers with `status` at once.
bool inject(Device* device, const std::string& kernel, CUresult* status) {
  const auto fault = fault_at("launch", kernel);
  if (!fault) return false;
  if (fault->sticky && is_asynchronous(fault->status)) {
    device->fail(fault->status, "injected at " + kernel);
    *status = CUDA_SUCCESS;
    return true;
  }
  CUresult none = CUDA_SUCCESS;
  if (fault->sticky) device->dead.compare_exchange_strong(none, fault->status);
  *status = fault->status;
  return true;
}

} // namespace

EXPORT CUresult cuModuleLoadData(void** handle, const void* image) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  if (const auto fault = fault_at("module_load")) {
    CUresult none = CUDA_SUCCESS;
    if (fault->sticky) device->dead.compare_exchange_strong(none, fault->status);
    return fault->status;
  }
  std::unique_ptr<Module> module;
  if (const CUresult wrong = read_module(device, image, &module)) return wrong;
  Entry("module_load").number("device", device->number).text("image", module->ptx ? "ptx" : "binary");
  *handle = module.release();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleUnload(void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  delete static_cast<Module*>(handle);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
  auto* module = static_cast<Module*>(module_handle);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  if (module->device->dead) return module->device->dead;
  const auto entry = module->entries.find(name);
  if (module->ptx && entry == module->entries.end()) return CUDA_ERROR_NOT_FOUND;
  const Kernel* kernel = find_kernel(name);
  if (!kernel) {
    if (module->ptx) explain(std::string("kernel ") + name + " has no CPU version here");
    return CUDA_ERROR_NOT_FOUND;
  }
  if (module->ptx && !same_parameters(*kernel, entry->second)) return CUDA_ERROR_NOT_FOUND;
  Entry("function_load").number("device", module->device->number).text("name", name);
  const std::lock_guard<std::mutex> guard(module->lock);
  std::unique_ptr<Function>& function = module->functions[name];
  if (!function) function.reset(new Function{kernel, module->device, SHARED_WITHOUT_ASKING});
  *handle = function.get();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncSetAttribute(void* handle, int attribute, int value) {
  auto* function = static_cast<Function*>(handle);
  if (!function) return CUDA_ERROR_INVALID_HANDLE;
  if (attribute == 9) return CUDA_SUCCESS; // PREFERRED_SHARED_MEMORY_CARVEOUT
  if (attribute != 8 || value < 0 || value > SHARED_MOST)
    return CUDA_ERROR_INVALID_VALUE; // MAX_DYNAMIC_SHARED_SIZE_BYTES
  function->shared_limit = value;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuLaunchKernel(void* function_handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                               unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                               void* stream_handle, void** parameters, void** extra) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  auto* function = static_cast<Function*>(function_handle);
  Stream* stream = stream_of(stream_handle);
  if (!function || !stream || function->device != stream->device) return CUDA_ERROR_INVALID_HANDLE;
  const Kernel& kernel = *function->kernel;
  const uint64_t threads = uint64_t(block_x) * block_y * block_z;
  if (grid_x == 0 || grid_y == 0 || grid_z == 0 || grid_x > 0x7fffffffu || grid_y > 65535 || grid_z > 65535 ||
      threads == 0 || threads > 1024 || block_z > 64 ||
      shared > static_cast<unsigned>(function->shared_limit) || extra ||
      (!parameters && !kernel.parameters.empty())) {
    explain("launch of " + kernel.name + ": no such grid, block or shared memory on a card");
    return CUDA_ERROR_INVALID_VALUE;
  }
  Launch launch{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, {}};
  for (size_t i = 0; i < kernel.parameters.size(); i++) {
    uint64_t bits = 0;
    memcpy(&bits, parameters[i], kernel.parameters[i].bytes);
    launch.values.push_back(bits);
  }
  CUresult status;
  if (inject(stream->device, kernel.name, &status)) return status;
  note(stream, kernel, launch);
  stream->put([of = stream->device, &kernel, launch] { run(of, kernel, launch); });
  return CUDA_SUCCESS;
}
