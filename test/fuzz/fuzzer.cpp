// libFuzzer's entry: the target that $QAT_FUZZ_TARGET names. See README.md.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz/targets.hpp"

namespace {

const qat::fuzz::Reader& target() {
  static const qat::fuzz::Reader found = [] {
    const char* name = std::getenv("QAT_FUZZ_TARGET");
    for (const auto& targets : {qat::fuzz::format_targets(), qat::fuzz::recipe_targets()})
      for (const auto& each : targets)
        if (name != nullptr && each.name == name) return each;
    std::fprintf(stderr, "QAT_FUZZ_TARGET is none of the targets in test/fuzz\n");
    std::exit(2);
  }();
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string directory = [] {
    std::string pattern = "/dev/shm/qat-fuzz-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    return pattern;
  }();
  const std::string path = directory + "/" + target().file;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0) std::abort();
  if (qat::fuzz::run(target(), path).starts_with("(a message")) std::abort();
  return 0;
}
