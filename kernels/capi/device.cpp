// The C interface to the GPU itself: errors, device, memory.
#include <cstdio>

#include "capi.hpp"
#include "qat/version.hpp"

#define QAT_TEXT_OF(x) #x
#define QAT_TEXT(x) QAT_TEXT_OF(x)

using namespace qat;

extern "C" {

const char* qat_last_error(void) { return capi::last_error.c_str(); }
const char* qat_version(void) {
  return QAT_TEXT(QAT_VERSION_MAJOR) "." QAT_TEXT(QAT_VERSION_MINOR) "." QAT_TEXT(QAT_VERSION_PATCH);
}

qat_status qat_cuda_device(char* text, size_t capacity) {
  return capi::guarded([&] {
    const cuda::DeviceInfo info = cuda::device_info();
    std::snprintf(text, capacity,
                  "%s, compute capability %d.%d, %d processors, %zu MiB, L2 %zu KiB, driver %d, runtime %d", info.name,
                  info.compute_capability / 10, info.compute_capability % 10, info.processors, info.memory_bytes >> 20,
                  info.l2_bytes >> 10, info.driver_version, info.runtime_version);
  });
}
qat_status qat_cuda_allocate(void** p, size_t bytes) {
  return capi::guarded([&] { *p = cuda::device_allocate(bytes); });
}
qat_status qat_cuda_free(void* p) {
  return capi::guarded([&] { cuda::device_free(p); });
}
qat_status qat_cuda_copy(const qat_cuda* cuda, void* to, const void* from, size_t bytes) {
  return capi::guarded([&] { cuda::device_copy(capi::backend(cuda), to, from, bytes); });
}
qat_status qat_cuda_wait(const qat_cuda* cuda) {
  return capi::guarded([&] { cuda::device_wait(capi::backend(cuda)); });
}

}  // extern "C"
