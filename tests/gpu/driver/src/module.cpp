#include "module.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "settings.h"

namespace software_cuda {
namespace {

std::unordered_map<std::string, Kernel>& table() {
  static auto* all = [] { return new std::unordered_map<std::string, Kernel>; }();
  return *all;
}

unsigned bytes_of(const std::string& type) {
  static const std::map<std::string, unsigned> sizes = {
      {".u8", 1},  {".s8", 1},  {".b8", 1},  {".u16", 2}, {".s16", 2}, {".b16", 2}, {".f16", 2}, {".u32", 4},
      {".s32", 4}, {".b32", 4}, {".f32", 4}, {".u64", 8}, {".s64", 8}, {".b64", 8}, {".f64", 8}};
  const auto found = sizes.find(type);
  return found == sizes.end() ? 0 : found->second;
}

// One parameter: ".param .u64 name" or ".param .align 2 .b8 name[2]".
unsigned parameter_bytes(const std::string& line) {
  unsigned bytes = 0;
  for (size_t at = line.find(" ."); at != std::string::npos; at = line.find(" .", at + 1)) {
    const size_t end = line.find_first_of(" ,", at + 1);
    if (const unsigned found = bytes_of(line.substr(at + 1, end - at - 1))) bytes = found;
  }
  const size_t bracket = line.find('[');
  return bracket == std::string::npos ? bytes
                                      : bytes * static_cast<unsigned>(atoi(line.c_str() + bracket + 1));
}

std::map<std::string, std::vector<unsigned>> entries_of(const std::string& ptx) {
  std::map<std::string, std::vector<unsigned>> entries;
  const std::string key = ".entry ";
  for (size_t at = ptx.find(key); at != std::string::npos; at = ptx.find(key, at)) {
    at += key.size();
    const size_t end = ptx.find_first_of("( \n\r\t", at);
    std::vector<unsigned>& parameters = entries[ptx.substr(at, end - at)];
    const size_t open = ptx.find('(', at), close = ptx.find(')', at);
    for (size_t p = ptx.find(".param", open); p < close; p = ptx.find(".param", p + 1)) {
      parameters.push_back(parameter_bytes(ptx.substr(p, ptx.find('\n', p) - p)));
    }
  }
  return entries;
}

// The oldest driver that compiles PTX of a major version: 8 came with CUDA 12, 9 with CUDA 13.
int driver_for_ptx(int version) { return (version + 4) * 1000; }

} // namespace

void add_kernel(Kernel kernel) { table()[kernel.name] = kernel; }

const Kernel* find_kernel(const std::string& name) {
  static const bool filled = [] {
    add_candle_kernels();
    add_emulated_kernels();
    return true;
  }();
  (void)filled;
  const auto found = table().find(name);
  return found == table().end() ? nullptr : &found->second;
}

CUresult read_module(Device* device, const void* image, std::unique_ptr<Module>* module) {
  auto read = std::make_unique<Module>();
  read->device = device;
  uint32_t magic;
  memcpy(&magic, image, sizeof magic);
  read->ptx = magic != 0xba55ed50 && magic != 0x464c457f; // a fatbin, or ELF
  if (read->ptx) {
    const char* text = static_cast<const char*>(image);
    const char* version = strstr(text, ".version ");
    if (!version) return CUDA_ERROR_INVALID_IMAGE;
    if (driver_for_ptx(atoi(version + strlen(".version "))) > settings().driver_version) {
      return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    }
    read->entries = entries_of(text);
  }
  *module = std::move(read);
  return CUDA_SUCCESS;
}

} // namespace software_cuda
