// Memory of devices and pinned memory of the host: allocation and pools. Copies are in api_copy.cpp.
#include <cstdlib>
#include <cstring>

#include "device.h"
#include "faults.h"
#include "ledger.h"
#include "pinned.h"
#include "settings.h"

using namespace software_cuda;

namespace {

CUresult allocate(const char* call, Device* device, size_t bytes, bool pooled, uint64_t* address) {
  if (const auto fault = fault_at(pooled ? "alloc" : "alloc_plain")) {
    CUresult none = CUDA_SUCCESS;
    if (fault->sticky) device->dead.compare_exchange_strong(none, fault->status);
    return fault->status;
  }
  Entry("alloc")
      .text("call", call)
      .number("device", device->number)
      .number("bytes", static_cast<int64_t>(bytes));
  return device->memory.allocate(bytes, pooled, address);
}

} // namespace

EXPORT CUresult cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  return allocate("cuMemAlloc", device, bytes, false, address);
}

EXPORT CUresult cuMemFree_v2(uint64_t address) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  if (address == 0) return CUDA_SUCCESS;
  Entry("free").text("call", "cuMemFree");
  ledger_wait("cuMemFree"); // waits for the whole device
  std::vector<Stream*> streams;
  {
    const std::lock_guard<std::mutex> guard(device->lock);
    streams = device->streams;
  }
  for (Stream* stream : streams) stream->drain();
  if (const CUresult wrong = device->memory.give_back(address)) return wrong;
  device->standard->put([device, address] { device->memory.bury(address); });
  device->standard->drain();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAllocAsync(uint64_t* address, size_t bytes, void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return allocate("cuMemAllocAsync", stream->device, bytes, true, address);
}

EXPORT CUresult cuMemFreeAsync(uint64_t address, void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (address == 0) return CUDA_SUCCESS;
  Entry("free").text("call", "cuMemFreeAsync");
  if (const CUresult wrong = stream->device->memory.give_back(address)) return wrong;
  stream->put([memory = &stream->device->memory, address] { memory->bury(address); });
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  device->memory.info(free, total);
  return CUDA_SUCCESS;
}

// A pool's handle is its device.
EXPORT CUresult cuDeviceGetDefaultMemPool(void** pool, int number) {
  Device* device;
  if (const CUresult wrong = device_of(number, &device)) return wrong;
  *pool = device;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetMemPool(void** pool, int number) {
  return cuDeviceGetDefaultMemPool(pool, number);
}

EXPORT CUresult cuMemPoolSetAttribute(void* pool, int attribute, void* value) {
  if (!pool || attribute != 4) return CUDA_ERROR_INVALID_VALUE; // RELEASE_THRESHOLD
  memcpy(&static_cast<Device*>(pool)->memory.threshold, value, 8);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemPoolGetAttribute(void* pool, int attribute, void* value) {
  if (!pool) return CUDA_ERROR_INVALID_VALUE;
  const Memory& memory = static_cast<Device*>(pool)->memory;
  uint64_t number;
  switch (attribute) {
    case 4: number = memory.threshold; break;
    case 5: number = memory.reserved(); break; // RESERVED_MEM_CURRENT
    case 7: number = memory.used(); break; // USED_MEM_CURRENT
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  memcpy(value, &number, 8);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemPoolTrimTo(void* pool, size_t keep) {
  if (!pool) return CUDA_ERROR_INVALID_VALUE;
  auto* device = static_cast<Device*>(pool);
  if (device->dead) return device->dead;
  device->memory.trim(keep);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  if (bytes == 0 || flags > 7) return CUDA_ERROR_INVALID_VALUE;
  Entry("alloc").text("call", "cuMemHostAlloc").number("bytes", static_cast<int64_t>(bytes));
  *address = pin(bytes);
  return *address ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

EXPORT CUresult cuMemFreeHost(void* address) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Entry("free").text("call", "cuMemFreeHost");
  ledger_wait("cuMemFreeHost");
  for (int number = 0; device_of(number, &device) == CUDA_SUCCESS; number++) {
    std::vector<Stream*> streams;
    {
      const std::lock_guard<std::mutex> guard(device->lock);
      streams = device->streams;
    }
    for (Stream* stream : streams) stream->drain();
  }
  return unpin(address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
