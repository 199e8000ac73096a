#include "pinned.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "settings.h"

namespace software_cuda {
namespace {

struct Table {
  std::mutex lock;
  std::map<uintptr_t, size_t> ranges;
};

Table& table() {
  static auto* one = new Table;
  return *one;
}

} // namespace

void* pin(size_t bytes) {
  void* address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!address) return nullptr;
  if (settings().compute) memset(address, 0xff, bytes);
  const std::lock_guard<std::mutex> guard(table().lock);
  table().ranges[reinterpret_cast<uintptr_t>(address)] = bytes;
  return address;
}

bool unpin(void* address) {
  {
    const std::lock_guard<std::mutex> guard(table().lock);
    if (table().ranges.erase(reinterpret_cast<uintptr_t>(address)) == 0) return false;
  }
  free(address);
  return true;
}

bool is_pinned(const void* address, size_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard<std::mutex> guard(table().lock);
  auto entry = table().ranges.upper_bound(at);
  if (entry == table().ranges.begin()) return false;
  --entry;
  return at + bytes <= entry->first + entry->second;
}

} // namespace software_cuda
