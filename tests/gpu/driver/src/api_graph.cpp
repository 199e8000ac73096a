// Capture of a stream, and graphs: the captured work in its order, run on the stream that they are launched
// on.
//
// Kernels, products, memsets and copies that do not wait are captured. Everything else on a capturing stream
// answers STREAM_CAPTURE_UNSUPPORTED and spoils the capture: allocations and frees too, which a card would
// make nodes of.
#include "device.h"
#include "ledger.h"

using namespace software_cuda;

namespace {

using Work = std::vector<std::function<void()>>;

struct Graph {
  Device* device;
  Work work;
};

} // namespace

EXPORT CUresult cuStreamBeginCapture_v2(void* handle, int mode) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  if (mode < 0 || mode > 2) return CUDA_ERROR_INVALID_VALUE;
  if (stream == stream->device->standard.get()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return stream->begin_capture() ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

EXPORT CUresult cuStreamIsCapturing(void* handle, int* status) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  *status = stream->capturing() ? 1 : 0; // CU_STREAM_CAPTURE_STATUS_ACTIVE, _NONE
  return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamEndCapture(void* handle, void** graph) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  Stream* stream = stream_of(handle);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  *graph = nullptr;
  if (!stream->capturing()) return CUDA_ERROR_INVALID_VALUE;
  std::optional<Work> work = stream->end_capture();
  if (!work) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  *graph = new Graph{stream->device, std::move(*work)};
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphInstantiateWithFlags(void** instance, void* graph, unsigned long long) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  if (!graph) return CUDA_ERROR_INVALID_VALUE;
  *instance = new Graph(*static_cast<Graph*>(graph));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphUpload(void* instance, void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  return instance && stream_of(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT CUresult cuGraphLaunch(void* instance, void* handle) {
  Device* device;
  if (const CUresult wrong = enter(&device)) return wrong;
  const auto* graph = static_cast<Graph*>(instance);
  Stream* stream = stream_of(handle);
  if (!graph || !stream || graph->device != stream->device) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->spoil_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  Entry("graph_launch")
      .number("device", device->number)
      .number("stream", stream->number)
      .number("nodes", static_cast<int64_t>(graph->work.size()));
  for (const auto& work : graph->work) stream->put_always(work);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphDestroy(void* graph) {
  delete static_cast<Graph*>(graph);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphExecDestroy(void* instance) {
  delete static_cast<Graph*>(instance);
  return CUDA_SUCCESS;
}
