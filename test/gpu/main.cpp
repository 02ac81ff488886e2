// qat-gpu-check [--large] [NAME ...]: runs the checks whose name contains one of the NAMEs on the current device. Ends
// with `N passed, N failed`.
#include <chrono>
#include <cstdio>
#include <cstring>

#include "gpu/check.hpp"

namespace qat::test::gpu {
namespace {
struct Entry {
  const char* name;
  Check check;
};
std::vector<Entry>& entries() {
  static std::vector<Entry> list;
  return list;
}
}  // namespace

Registration::Registration(const char* name, Check check) { entries().push_back({name, check}); }

void Report::expect(const std::string& what, const Comparison& comparison) {
  expect(what, static_cast<bool>(comparison), comparison.report);
}
void Report::expect(const std::string& what, bool passed, const std::string& found) {
  ++(passed ? passed_ : failed_);
  if (!passed && failed_ <= 100) std::printf("  FAILED %s: %s\n", what.c_str(), found.c_str());
}
void Report::expect_error(const std::string& what, const std::string& text, const std::function<void()>& f) {
  try {
    f();
    expect(what, false, "no error; expected one with '" + text + "'");
  } catch (const Error& e) {
    expect(what, std::strstr(e.what(), text.c_str()) != nullptr,
           std::string("'") + e.what() + "'; expected '" + text + "' in it");
  }
}

int run(int argc, char** argv) {
  Device device;
  std::vector<std::string> wanted;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--large") == 0)
      device.large = true;
    else
      wanted.push_back(argv[i]);
  }
  const cuda::DeviceInfo info = cuda::device_info();
  std::printf("%s, compute capability %d.%d\n", info.name, info.compute_capability / 10, info.compute_capability % 10);
  const index_t workspace_bytes = device.large ? index_t{256} << 20 : index_t{4} << 20;
  const cuda::DeviceBuffer<char> workspace(workspace_bytes);
  device.backend.workspace = workspace.data();
  device.backend.workspace_bytes = static_cast<std::size_t>(workspace_bytes);

  Report report;
  for (const Entry& entry : entries()) {
    bool skip = !wanted.empty();
    for (const std::string& name : wanted) skip = skip && std::string(entry.name).find(name) == std::string::npos;
    if (skip) continue;
    const int passed = report.passed(), failed = report.failed();
    const auto start = std::chrono::steady_clock::now();
    try {
      entry.check(device, report);
      cuda::device_wait(device.backend);
    } catch (const std::exception& e) {
      report.expect(entry.name, false, e.what());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%s %s: %d comparisons, %.1f s\n", report.failed() == failed ? "ok    " : "FAILED", entry.name,
                report.passed() + report.failed() - passed - failed, seconds);
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", report.passed(), report.failed());
  return report.failed() == 0 && report.passed() > 0 ? 0 : 1;
}

}  // namespace qat::test::gpu

int main(int argc, char** argv) {
  try {
    return qat::test::gpu::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "qat-gpu-check: %s\n", e.what());
    return 2;
  }
}
