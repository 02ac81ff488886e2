// The machine and the program that figures come from, as JSON.
#pragma once

#include <sys/utsname.h>

#include <cstring>
#include <string>

#include "qat/backend/cpu.hpp"
#include "qat/io/json.hpp"
#include "qat/simd/cpuid.hpp"
#include "qat/simd/target.hpp"

namespace qat::inline v0::recipe {

/// "AMD EPYC 9654 96-Core Processor"; the architecture ("aarch64") where the processor states no name.
inline std::string processor_name() {
  std::string name;
#if defined(__x86_64__) && defined(__GNUC__)
  for (std::uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
    const qat::detail::CpuidWords words = qat::detail::cpuid(leaf);
    char text[sizeof words];
    std::memcpy(text, &words, sizeof words);
    name.append(text, sizeof text);
  }
  name.resize(std::strlen(name.c_str()));
  const std::size_t first = name.find_first_not_of(' '), last = name.find_last_not_of(' ');
  name = first == name.npos ? std::string() : name.substr(first, last - first + 1);
#endif
  utsname system{};
  if (name.empty() && ::uname(&system) == 0) name = system.machine;
  return name;
}

inline std::string compiler_name() {
#if defined(__clang__)
  return __VERSION__;
#elif defined(__GNUC__)
  return "g++ " __VERSION__;
#else
  return "unknown";
#endif
}

/// {"processor": NAME, "threads": N, "target": instruction set of the kernels, "compiler": NAME}
inline Json machine_json(const CpuBackend& backend) {
  return {{"processor", processor_name()},
          {"threads", backend.threads()},
          {"target", name(active_target())},
          {"compiler", compiler_name()}};
}

}  // namespace qat::inline v0::recipe
