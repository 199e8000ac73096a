// Streams and events. In late streams, what forgets to wait is seen to be wrong.
//
// streams          what holds in both modes
// streams late     what shows in late streams only: SOFTWARE_CUDA_STREAMS=late
#include <unistd.h>

#include <atomic>

#include "check.h"

namespace {

constexpr int NOT_READY = 600, INVALID_HANDLE = 400, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901;
constexpr size_t COUNT = 1 << 16, BYTES = COUNT * 4;

void* new_stream() {
  void* stream;
  OK(cuStreamCreate(&stream, 1));
  return stream;
}

void* new_event(unsigned flags = 0) {
  void* event;
  OK(cuEventCreate(&event, flags));
  return event;
}

void a_stream_keeps_its_order() {
  void* stream = new_stream();
  std::vector<float> values = random_values(COUNT, 1), back(COUNT);
  for (int round = 0; round < 20; round++) {
    const uint64_t x = allocate(BYTES, stream), y = allocate(BYTES, stream);
    OK(cuMemcpyHtoDAsync_v2(x, values.data(), BYTES, stream));
    std::vector<float> want = values;
    values.assign(COUNT, 7.0f); // pageable memory was read by then
    OK(cuMemcpyDtoDAsync_v2(y, x, BYTES, stream));
    OK(cuMemFreeAsync(x, stream));
    OK(cuMemcpyDtoHAsync_v2(back.data(), y, BYTES, stream)); // pageable: waits
    TRUE(back == want);
    OK(cuMemFreeAsync(y, stream));
    values = want;
  }
  OK(cuStreamSynchronize(stream));
  OK(cuStreamDestroy_v2(stream));
}

void events_order_streams() {
  void *first = new_stream(), *second = new_stream(), *ready = new_event(2);
  const std::vector<float> values = random_values(COUNT, 2);
  for (int round = 0; round < 20; round++) {
    const uint64_t x = allocate(BYTES, first), y = allocate(BYTES, first);
    OK(cuMemcpyHtoDAsync_v2(x, values.data(), BYTES, first));
    OK(launch_sigmoid(x, y, COUNT, first));
    OK(cuEventRecord(ready, first));
    OK(cuStreamWaitEvent(second, ready, 0));
    std::vector<float> back(COUNT);
    OK(cuMemcpyDtoHAsync_v2(back.data(), y, BYTES, second));
    for (const float value : back) TRUE(value > 0.0f && value < 1.0f);
    OK(cuMemFreeAsync(x, second));
    OK(cuMemFreeAsync(y, second));
  }
  OK(cuStreamDestroy_v2(first));
  OK(cuStreamDestroy_v2(second));
}

void wait_a_little(void* flag) {
  usleep(30000);
  static_cast<std::atomic<bool>*>(flag)->store(true);
}

void events_have_times() {
  void *stream = new_stream(), *start = new_event(), *end = new_event(), *untimed = new_event(2);
  std::atomic<bool> called{false};
  float milliseconds = 0;
  OK(cuEventQuery(start)); // never recorded
  OK(cuEventRecord(start, stream));
  OK(cuLaunchHostFunc(stream, wait_a_little, &called));
  OK(cuEventRecord(end, stream));
  OK(cuEventRecord(untimed, stream));
  OK(cuEventSynchronize(end));
  TRUE(called);
  OK(cuEventElapsedTime_v2(&milliseconds, start, end));
  TRUE(milliseconds > 25 && milliseconds < 5000);
  SAME(cuEventElapsedTime_v2(&milliseconds, start, untimed), INVALID_HANDLE);
  OK(cuStreamSynchronize(stream));
  OK(cuStreamQuery(stream));
  OK(cuStreamDestroy_v2(stream));
  SAME(cuStreamSynchronize(stream), INVALID_HANDLE);
}

void graphs_run_what_was_captured() {
  void *stream = new_stream(), *graph, *instance, *memory;
  int status = -1;
  OK(cuMemHostAlloc(&memory, BYTES, 0));
  auto* pinned = static_cast<float*>(memory);
  const uint64_t x = allocate(BYTES, stream), y = allocate(BYTES, stream);
  launch_sigmoid(upload(random_values(32, 1)), allocate(128), 32); // loads the kernel
  OK(cuStreamBeginCapture_v2(stream, 2));
  OK(cuStreamIsCapturing(stream, &status));
  SAME(status, 1);
  OK(cuMemcpyHtoDAsync_v2(x, pinned, BYTES, stream));
  OK(launch_sigmoid(x, y, COUNT, stream));
  OK(cuMemcpyDtoHAsync_v2(pinned, y, BYTES, stream));
  OK(cuStreamEndCapture(stream, &graph));
  OK(cuGraphInstantiateWithFlags(&instance, graph, 0));
  for (const float value : {0.0f, 2.0f}) {
    std::fill(pinned, pinned + COUNT, value); // nothing has run yet, and each launch reads what is there then
    OK(cuGraphLaunch(instance, stream));
    OK(cuStreamSynchronize(stream));
    TRUE(pinned[COUNT - 1] > (value == 0.0f ? 0.49f : 0.88f) && pinned[0] < (value == 0.0f ? 0.51f : 0.89f));
  }
  OK(cuGraphExecDestroy(instance));
  OK(cuGraphDestroy(graph));
  // What waits or allocates cannot be captured.
  uint64_t z;
  float pageable[4];
  for (const std::function<int()>& call : std::vector<std::function<int()>>{
           [&] { return cuStreamSynchronize(stream); }, [&] { return cuMemAllocAsync(&z, 64, stream); },
           [&] { return cuMemcpyDtoHAsync_v2(pageable, y, 16, stream); },
           [&] { return cuMemcpyHtoDAsync_v2(y, pageable, 16, stream); }}) {
    OK(cuStreamBeginCapture_v2(stream, 2));
    SAME(call(), CAPTURE_UNSUPPORTED);
    SAME(cuStreamEndCapture(stream, &graph), CAPTURE_INVALIDATED);
  }
  OK(cuStreamIsCapturing(stream, &status));
  SAME(status, 0);
  OK(cuMemFreeHost(memory));
  OK(cuStreamDestroy_v2(stream));
}

// Whether any of some rounds of `work` gives true.
bool ever(const std::function<bool()>& work) {
  for (int round = 0; round < 200; round++) {
    if (work()) return true;
  }
  return false;
}

void late_streams_show_what_does_not_wait() {
  void *stream = new_stream(), *other = new_stream(), *event = new_event(2);
  const uint64_t x = allocate(BYTES);
  void* memory;
  OK(cuMemHostAlloc(&memory, BYTES, 0));
  auto* pinned = static_cast<uint32_t*>(memory);
  auto settle = [&] {
    OK(cuStreamSynchronize(stream));
    OK(cuStreamSynchronize(other));
  };
  // A pinned upload's memory is written again before the copy has been made.
  TRUE(ever([&] {
    std::fill(pinned, pinned + COUNT, 1u);
    OK(cuMemcpyHtoDAsync_v2(x, pinned, BYTES, stream));
    std::fill(pinned, pinned + COUNT, 2u);
    settle();
    return download<uint32_t>(x, COUNT)[0] == 2;
  }));
  // A pinned download is read before it is there.
  TRUE(ever([&] {
    OK(cuMemsetD8Async(x, 1, BYTES, stream));
    std::fill(pinned, pinned + COUNT, 0u);
    OK(cuMemcpyDtoHAsync_v2(pinned, x, BYTES, stream));
    const bool early = pinned[COUNT - 1] == 0;
    settle();
    SAME(pinned[COUNT - 1], 0x01010101u);
    return early;
  }));
  // Two streams without an event between them.
  TRUE(ever([&] {
    OK(cuMemsetD8Async(x, 1, BYTES, stream));
    settle();
    OK(cuMemsetD8Async(x, 2, BYTES, stream));
    OK(cuMemcpyDtoHAsync_v2(pinned, x, BYTES, other));
    settle();
    return pinned[0] == 0x01010101u;
  }));
  // Polling finds work that is not done.
  TRUE(ever([&] {
    OK(cuMemsetD8Async(x, 3, BYTES, stream));
    OK(cuEventRecord(event, stream));
    const bool unfinished = cuEventQuery(event) == NOT_READY && cuStreamQuery(stream) == NOT_READY;
    settle();
    OK(cuEventQuery(event));
    return unfinished;
  }));
  OK(cuMemFreeHost(memory));
  // A free on one stream while another still uses the memory.
  SAME(ever([&] {
         const uint64_t y = allocate(BYTES, stream);
         OK(cuMemsetD8Async(y, 0, BYTES, stream));
         OK(cuStreamSynchronize(stream));
         OK(launch_sigmoid(y, x, COUNT, other));
         OK(cuMemFreeAsync(y, stream));
         return cuCtxSynchronize() == 700;
       }),
       true);
}

} // namespace

int main(int count, char**) {
  open_device();
  if (count > 1) {
    late_streams_show_what_does_not_wait();
    return 0;
  }
  a_stream_keeps_its_order();
  events_order_streams();
  events_have_times();
  graphs_run_what_was_captured();
}
