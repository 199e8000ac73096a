// Memory of the host that a device reads and writes by itself.
#pragma once

#include <cstddef>

namespace software_cuda {

void* pin(size_t bytes);
bool unpin(void* address);
// Whether all of [address, address + bytes) is pinned.
bool is_pinned(const void* address, size_t bytes);

} // namespace software_cuda
