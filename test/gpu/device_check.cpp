// What must hold before a kernel runs: pointers of the device, enough memory, enough workspace.
#include "gpu/check.hpp"

namespace qat::test::gpu {
namespace {

void bad_memory(const Device& device, Report& report) {
  const cuda::DeviceBuffer<float> buffer(64);
  cuda::check_device_pointer("check", "x", buffer.data(), 16);
  report.expect_error("null pointer", "check: x is null", [] { cuda::check_device_pointer("check", "x", nullptr); });
  report.expect_error("misaligned pointer", "x is not aligned to 16 bytes",
                      [&] { cuda::check_device_pointer("check", "x", buffer.data() + 1, 16); });
  std::vector<float> host(64);
  report.expect_error("memory of the host", "x points to memory of the host",
                      [&] { cuda::check_device_pointer("check", "x", host.data()); });
  report.expect_error("too much memory", "out of device memory",
                      [] { cuda::device_allocate(static_cast<std::size_t>(1) << 50); });
  cuda::device_free(cuda::device_allocate(1));  // and the device goes on
  report.expect_error("too little workspace", "op: needs 1099511627776 bytes of workspace",
                      [&] { cuda::check_workspace(device.backend, "op", std::size_t{1} << 40); });
}

void copies(const Device& device, Report& report) {
  const std::vector<float> host = {1, 2, 3, 4, 5};
  const cuda::DeviceBuffer<float> buffer = to_device(device, host);
  report.expect("there and back", compare_bits<float>(host, to_host(device, buffer)));
  const cuda::DeviceBuffer<std::uint8_t> fresh(1000);
  bool poisoned = true;
  for (const std::uint8_t byte : to_host(device, fresh)) poisoned = poisoned && byte == 0xCD;
  report.expect("new memory is poisoned", poisoned);
  report.expect("no graph is captured", !cuda::is_capturing(device.backend));
}

const Registration bad_memory_check("device: bad memory is an error that names it", bad_memory);
const Registration copies_check("device: memory is copied there and back", copies);

}  // namespace
}  // namespace qat::test::gpu
