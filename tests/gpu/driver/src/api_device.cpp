// cuInit, devices, contexts, error texts.
#include <cstdio>
#include <cstring>
#include <map>

#include "device.h"
#include "faults.h"
#include "ledger.h"
#include "settings.h"

using namespace software_cuda;

namespace {

// Attributes by number (CUdevice_attribute), those of an H200 where programs ask for them.
const std::map<int, int> ATTRIBUTES = {
    {1, 1024}, // MAX_THREADS_PER_BLOCK
    {2, 1024}, // MAX_BLOCK_DIM_X
    {3, 1024}, // MAX_BLOCK_DIM_Y
    {4, 64}, // MAX_BLOCK_DIM_Z
    {5, 0x7fffffff}, // MAX_GRID_DIM_X
    {6, 65535}, // MAX_GRID_DIM_Y
    {7, 65535}, // MAX_GRID_DIM_Z
    {8, 48 * 1024}, // MAX_SHARED_MEMORY_PER_BLOCK
    {10, 32}, // WARP_SIZE
    {16, 132}, // MULTIPROCESSOR_COUNT
    {39, 2048}, // MAX_THREADS_PER_MULTIPROCESSOR
    {41, 1}, // UNIFIED_ADDRESSING
    {75, 9}, // COMPUTE_CAPABILITY_MAJOR
    {76, 0}, // COMPUTE_CAPABILITY_MINOR
    {81, 228 * 1024}, // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
    {97, 227 * 1024}, // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    {115, 1}, // MEMORY_POOLS_SUPPORTED
};

struct Text {
  const char *name, *text;
};
const std::map<int, Text> ERRORS = {
    {0, {"CUDA_SUCCESS", "no error"}},
    {1, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
    {2, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
    {3, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}},
    {46, {"CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"}},
    {100, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {101, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
    {200, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
    {201, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
    {209, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
    {214, {"CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"}},
    {222,
     {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."}},
    {400, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}},
    {500, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}},
    {600, {"CUDA_ERROR_NOT_READY", "device not ready"}},
    {700, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
    {701, {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"}},
    {702, {"CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"}},
    {709, {"CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"}},
    {716, {"CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"}},
    {719, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}},
    {801, {"CUDA_ERROR_NOT_SUPPORTED", "operation not supported"}},
    {999, {"CUDA_ERROR_UNKNOWN", "unknown error"}},
};

} // namespace

EXPORT CUresult cuInit(unsigned flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (const auto fault = fault_at("init")) return fault->status;
  if (settings().devices == 0) return CUDA_ERROR_NO_DEVICE;
  initialise();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDriverGetVersion(int* version) {
  if (const auto fault = fault_at("driver_version")) return fault->status;
  *version = settings().driver_version;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorName(CUresult error, const char** text) {
  const auto found = ERRORS.find(error);
  *text = found == ERRORS.end() ? "an error without a name here" : found->second.name;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorString(CUresult error, const char** text) {
  const auto found = ERRORS.find(error);
  *text = found == ERRORS.end() ? "an error without a text here" : found->second.text;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int* count) {
  Device* device;
  if (const CUresult wrong = device_of(0, &device)) return wrong;
  *count = settings().devices;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(int* device, int ordinal) {
  Device* found;
  if (const CUresult wrong = device_of(ordinal, &found)) return wrong;
  *device = ordinal;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetName(char* name, int length, int number) {
  Device* device;
  if (const CUresult wrong = device_of(number, &device)) return wrong;
  snprintf(name, static_cast<size_t>(length), "software CUDA device");
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetUuid_v2(char* uuid, int number) {
  Device* device;
  if (const CUresult wrong = device_of(number, &device)) return wrong;
  memset(uuid, 0, 16);
  uuid[15] = static_cast<char>(number);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t* bytes, int number) {
  Device* device;
  if (const CUresult wrong = device_of(number, &device)) return wrong;
  *bytes = settings().memory;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetAttribute(int* value, int attribute, int number) {
  Device* device;
  if (const CUresult wrong = device_of(number, &device)) return wrong;
  const auto found = ATTRIBUTES.find(attribute);
  if (found == ATTRIBUTES.end()) {
    explain("cuDeviceGetAttribute: no value for attribute " + std::to_string(attribute));
    return CUDA_ERROR_INVALID_VALUE;
  }
  *value = found->second;
  return CUDA_SUCCESS;
}

// A context's handle is its device. A dead context stays retained, as on a card.
EXPORT CUresult cuDevicePrimaryCtxRetain(void** context, int number) {
  Device* device;
  if (const CUresult wrong = device_of(number, &device)) return wrong;
  *context = device;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(int number) {
  Device* device;
  return device_of(number, &device);
}

EXPORT CUresult cuCtxGetCurrent(void** context) {
  *context = current_device();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetCurrent(void* context) {
  current_device() = static_cast<Device*>(context);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetDevice(int* number) {
  if (!current_device()) return CUDA_ERROR_INVALID_CONTEXT;
  *number = current_device()->number;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSetFlags(unsigned) {
  Device* device;
  return enter(&device);
}
