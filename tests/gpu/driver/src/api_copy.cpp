// Copies and memsets.
#include <cstring>

#include "device.h"
#include "faults.h"
#include "ledger.h"
#include "pinned.h"
#include "settings.h"

using namespace software_cuda;

namespace {

constexpr size_t REALLY_COPIED = 64 << 10; // while nothing is computed, larger uploads stay away

void* host(uint64_t address) { return reinterpret_cast<void*>(address); }

// In two pieces, so that what does not wait for a late copy may see half of it.
void copy_in_pieces(Stream* stream, void* to, const void* from, size_t bytes) {
  const size_t half = bytes / 2;
  memcpy(to, from, half);
  stream->dawdle();
  memcpy(static_cast<char*>(to) + half, static_cast<const char*>(from) + half, bytes - half);
}

// What every copy begins with: faults, and what the device has run into by now.
CUresult begin(Device* device) {
  if (const auto fault = fault_at("copy")) {
    CUresult none = CUDA_SUCCESS;
    if (fault->sticky) device->dead.compare_exchange_strong(none, fault->status);
    return fault->status;
  }
  return device->report();
}

void note(Stream* stream, const char* direction, size_t bytes, bool pinned, bool waits) {
  Entry entry("copy");
  entry.text("direction", direction).number("bytes", static_cast<int64_t>(bytes));
  if (strcmp(direction, "d2d") != 0) entry.text("host", pinned ? "pinned" : "pageable");
  entry.flag("waits", waits);
  if (stream->capturing()) entry.flag("captured", true);
}

CUresult wait_for(Stream* stream) {
  stream->drain();
  return stream->device->report();
}

CUresult to_device(Stream* stream, uint64_t to, const void* from, size_t bytes, bool waits) {
  if (const CUresult wrong = begin(stream->device)) return wrong;
  const bool pinned = is_pinned(from, bytes);
  if (!pinned && stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  note(stream, "h2d", bytes, pinned, waits);
  if (bytes == 0) return CUDA_SUCCESS;
  const bool real = settings().compute || bytes <= REALLY_COPIED;
  const Memory* memory = &stream->device->memory;
  if (pinned) {
    stream->put([=] {
      memory->check(to, bytes, 1, "copy to the device");
      if (real) copy_in_pieces(stream, host(to), from, bytes);
    });
  } else {
    // Pageable memory is read before the call returns.
    std::shared_ptr<char[]> staged(new char[real ? bytes : 1]);
    if (real) memcpy(staged.get(), from, bytes);
    stream->put([=] {
      memory->check(to, bytes, 1, "copy to the device");
      if (real) copy_in_pieces(stream, host(to), staged.get(), bytes);
    });
  }
  return waits ? wait_for(stream) : CUDA_SUCCESS;
}

CUresult to_host(Stream* stream, void* to, uint64_t from, size_t bytes, bool waits) {
  if (const CUresult wrong = begin(stream->device)) return wrong;
  const bool pinned = is_pinned(to, bytes);
  waits = waits || !pinned;
  if (waits && stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  note(stream, "d2h", bytes, pinned, waits);
  if (bytes == 0) return CUDA_SUCCESS;
  stream->put([=] {
    stream->device->memory.check(from, bytes, 1, "copy to the host");
    copy_in_pieces(stream, to, host(from), bytes);
  });
  return waits ? wait_for(stream) : CUDA_SUCCESS;
}

CUresult within_device(Stream* stream, uint64_t to, uint64_t from, size_t bytes, bool waits) {
  if (const CUresult wrong = begin(stream->device)) return wrong;
  note(stream, "d2d", bytes, false, waits);
  if (bytes == 0) return CUDA_SUCCESS;
  stream->put([=] {
    stream->device->memory.check(from, bytes, 1, "copy within the device, from");
    stream->device->memory.check(to, bytes, 1, "copy within the device, to");
    if (settings().compute) memmove(host(to), host(from), bytes);
  });
  return waits ? wait_for(stream) : CUDA_SUCCESS;
}

CUresult set(Stream* stream, uint64_t to, unsigned char value, size_t bytes) {
  {
    Entry entry("memset");
    entry.number("stream", stream->number).number("bytes", static_cast<int64_t>(bytes));
    if (stream->capturing()) entry.flag("captured", true);
  }
  if (bytes == 0) return CUDA_SUCCESS;
  stream->put([=] {
    stream->device->memory.check(to, bytes, 1, "memset");
    if (settings().compute || bytes <= REALLY_COPIED) memset(host(to), value, bytes);
  });
  return CUDA_SUCCESS;
}

// Enters and finds the stream, or returns why not from the calling function.
#define ON_STREAM(handle)                                  \
  Device* device;                                          \
  if (const CUresult wrong = enter(&device)) return wrong; \
  Stream* stream = stream_of(handle);                      \
  if (!stream) return CUDA_ERROR_INVALID_HANDLE

} // namespace

EXPORT CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* handle) {
  ON_STREAM(handle);
  return to_device(stream, to, from, bytes, false);
}

EXPORT CUresult cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
  ON_STREAM(nullptr);
  return to_device(stream, to, from, bytes, true);
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* handle) {
  ON_STREAM(handle);
  return to_host(stream, to, from, bytes, false);
}

EXPORT CUresult cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  ON_STREAM(nullptr);
  return to_host(stream, to, from, bytes, true);
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* handle) {
  ON_STREAM(handle);
  return within_device(stream, to, from, bytes, false);
}

EXPORT CUresult cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) {
  ON_STREAM(nullptr);
  return within_device(stream, to, from, bytes, true);
}

EXPORT CUresult cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void* handle) {
  ON_STREAM(handle);
  return set(stream, to, value, bytes);
}

EXPORT CUresult cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) {
  ON_STREAM(nullptr);
  return set(stream, to, value, bytes);
}
