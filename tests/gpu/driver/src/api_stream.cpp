// Streams, events, and everything that waits.
#include "device.h"
#include "faults.h"
#include "ledger.h"

using namespace software_cuda;

namespace {

// What every synchronising call ends with: an injected fault, the pool's threshold, and what has happened.
CUresult after_waiting(Device* device) {
  if (const auto fault = fault_at("sync")) {
    CUresult none = CUDA_SUCCESS;
    if (fault->sticky) device->dead.compare_exchange_strong(none, fault->status);
    return fault->status;
  }
  device->memory.release_idle();
  return device->report();
}

CUresult create(void** handle, unsigned flags) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  if (flags > 1) return CUDA_ERROR_INVALID_VALUE;
  *handle = new Stream(device);
  return CUDA_SUCCESS;
}

// The streams of a device at this moment. None is destroyed while another thread waits for it: that would be
// the program's mistake on a card, too.
std::vector<Stream*> streams_of(Device* device) {
  const std::lock_guard<std::mutex> guard(device->lock);
  return device->streams;
}

} // namespace

EXPORT CUresult cuStreamCreate(void** handle, unsigned flags) { return create(handle, flags); }

EXPORT CUresult cuStreamCreateWithPriority(void** handle, unsigned flags, int) {
  return create(handle, flags);
}

EXPORT CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamDestroy_v2(void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream || stream == device->standard.get()) return CUDA_ERROR_INVALID_HANDLE;
  forget_stream(stream);
  delete stream;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamSynchronize(void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  ledger_wait("cuStreamSynchronize");
  stream->drain();
  return after_waiting(stream->device);
}

EXPORT CUresult cuStreamQuery(void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  ledger_wait("cuStreamQuery");
  if (!stream->idle() && !stream->device->broken()) return CUDA_ERROR_NOT_READY;
  return after_waiting(stream->device);
}

EXPORT CUresult cuCtxSynchronize() {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  ledger_wait("cuCtxSynchronize");
  const std::vector<Stream*> streams = streams_of(device);
  for (Stream* stream : streams) {
    if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  for (Stream* stream : streams) stream->drain();
  return after_waiting(device);
}

EXPORT CUresult cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  auto* event = static_cast<Event*>(event_handle);
  if (!stream || !event) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  std::shared_ptr<Mark> mark;
  {
    const std::lock_guard<std::mutex> guard(event->lock);
    mark = event->mark;
  }
  if (mark) stream->put_always([mark] { mark->wait(); });
  return CUDA_SUCCESS;
}

EXPORT CUresult cuLaunchHostFunc(void* handle, void (*function)(void*), void* data) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream || !function) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  ledger_wait("cuLaunchHostFunc");
  stream->put([function, data] { function(data); });
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventCreate(void** handle, unsigned flags) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  auto* event = new Event;
  event->device = device;
  event->timed = (flags & 2) == 0; // CU_EVENT_DISABLE_TIMING
  *handle = event;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuEventDestroy_v2(void* handle) {
  if (!handle) return CUDA_ERROR_INVALID_HANDLE;
  delete static_cast<Event*>(handle); // its mark lives on where streams still wait for it
  Device* device;
  return enter(&device);
}

EXPORT CUresult cuEventRecord(void* handle, void* stream_handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  auto* event = static_cast<Event*>(handle);
  Stream* stream = stream_of(stream_handle);
  if (!event || !stream || event->device != stream->device) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  auto mark = std::make_shared<Mark>();
  {
    const std::lock_guard<std::mutex> guard(event->lock);
    event->mark = mark;
  }
  stream->put_always([mark] { mark->finish(); });
  return CUDA_SUCCESS;
}

namespace {

std::shared_ptr<Mark> mark_of(void* handle) {
  auto* event = static_cast<Event*>(handle);
  const std::lock_guard<std::mutex> guard(event->lock);
  return event->mark;
}

} // namespace

EXPORT CUresult cuEventQuery(void* handle) {
  if (!handle) return CUDA_ERROR_INVALID_HANDLE;
  Device* device = static_cast<Event*>(handle)->device;
  if (device->dead) return device->dead;
  ledger_wait("cuEventQuery");
  const std::shared_ptr<Mark> mark = mark_of(handle);
  if (mark && !mark->is_done() && !device->broken()) return CUDA_ERROR_NOT_READY;
  return after_waiting(device);
}

EXPORT CUresult cuEventSynchronize(void* handle) {
  if (!handle) return CUDA_ERROR_INVALID_HANDLE;
  Device* device = static_cast<Event*>(handle)->device;
  if (device->dead) return device->dead;
  ledger_wait("cuEventSynchronize");
  if (const std::shared_ptr<Mark> mark = mark_of(handle)) mark->wait();
  return after_waiting(device);
}

namespace {

CUresult elapsed(float* milliseconds, void* start, void* end) {
  auto *first = static_cast<Event*>(start), *last = static_cast<Event*>(end);
  if (!first || !last || !first->timed || !last->timed) return CUDA_ERROR_INVALID_HANDLE;
  if (first->device->dead) return first->device->dead;
  const std::shared_ptr<Mark> from = mark_of(start), to = mark_of(end);
  if (!from || !to) return CUDA_ERROR_INVALID_HANDLE;
  if (!from->is_done() || !to->is_done()) return CUDA_ERROR_NOT_READY;
  *milliseconds = std::chrono::duration<float, std::milli>(to->when - from->when).count();
  return CUDA_SUCCESS;
}

} // namespace

EXPORT CUresult cuEventElapsedTime(float* ms, void* start, void* end) { return elapsed(ms, start, end); }
EXPORT CUresult cuEventElapsedTime_v2(float* ms, void* start, void* end) { return elapsed(ms, start, end); }
