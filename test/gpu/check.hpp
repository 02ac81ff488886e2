// The device against the processor: the frame of qat-gpu-check. A check runs an operation on the current device and
// compares it with the same operation of the CPU; files of this folder register theirs. Needs no test framework: a
// machine with a GPU may have little more than a compiler.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "qat/kernels/cuda/device.hpp"
#include "support/compare.hpp"

namespace qat::test::gpu {

/// Collects what the checks find.
class Report {
 public:
  /// One comparison; a failure is printed with what it compared.
  void expect(const std::string& what, const Comparison& comparison);
  void expect(const std::string& what, bool passed, const std::string& found = "");
  /// fails unless f throws a qat::Error whose message contains `text`
  void expect_error(const std::string& what, const std::string& text, const std::function<void()>& f);
  int passed() const { return passed_; }
  int failed() const { return failed_; }

 private:
  int passed_ = 0, failed_ = 0;
};

/// What a check runs with. `large` is off on the emulator, where everything is a thousand times slower.
struct Device {
  CudaBackend backend;
  bool large = false;
};

using Check = void (*)(const Device&, Report&);

/// At namespace scope: const Registration r("fake_quantize: same bits", check);
struct Registration {
  Registration(const char* name, Check check);
};

/// A device copy of host values, and back.
template <class T>
cuda::DeviceBuffer<T> to_device(const Device& device, const std::vector<T>& host) {
  return {device.backend, host.data(), static_cast<index_t>(host.size())};
}
template <class T>
std::vector<T> to_host(const Device& device, const cuda::DeviceBuffer<T>& buffer) {
  std::vector<T> host(static_cast<std::size_t>(buffer.size()));
  buffer.read(device.backend, host.data());
  return host;
}

}  // namespace qat::test::gpu
