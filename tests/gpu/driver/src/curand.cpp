// libcurand.so.10: generators are made and configured, but make no numbers: the program draws none on the
// device.
#include "device.h"

using namespace software_cuda;

namespace {

enum { SUCCESS = 0, NOT_INITIALIZED = 101, INITIALIZATION_FAILED = 203 };
struct Generator {
  Device* device;
};

} // namespace

EXPORT int curandCreateGenerator(void** generator, int) {
  Device* device;
  if (enter(&device) != CUDA_SUCCESS) return INITIALIZATION_FAILED;
  *generator = new Generator{device};
  return SUCCESS;
}

EXPORT int curandDestroyGenerator(void* generator) {
  delete static_cast<Generator*>(generator);
  return SUCCESS;
}

EXPORT int curandSetStream(void* generator, void* stream) {
  return generator && stream_of(stream) ? SUCCESS : NOT_INITIALIZED;
}

EXPORT int curandSetPseudoRandomGeneratorSeed(void* generator, unsigned long long) {
  return generator ? SUCCESS : NOT_INITIALIZED;
}

EXPORT int curandSetGeneratorOffset(void* generator, unsigned long long) {
  return generator ? SUCCESS : NOT_INITIALIZED;
}
