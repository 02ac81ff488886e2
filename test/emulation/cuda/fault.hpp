// What an emulated kernel did wrong, and where.
#pragma once

#include <cxxabi.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <typeinfo>

namespace qat::emulation {

/// A line of a kernel; without a number it is text. Members of the context take one as their last argument, which the
/// compiler fills in.
struct Site {
  const char* file;
  int line;
  friend bool operator==(const Site& a, const Site& b) { return a.line == b.line && a.file == b.file; }
};
// Expanded at the call, as default arguments are: the line of the kernel, not of the emulator.
#define QAT_EMULATION_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

enum class Rule {
  kOutOfBounds,    ///< an access outside every registered buffer, or outside the block's shared memory
  kMisaligned,     ///< an address that is no multiple of the access's size
  kUninitialized,  ///< a read of memory that nobody has written
  kReadOnly,       ///< a write to a const buffer
  kRace,           ///< two threads at one byte, one of them writing, with nothing that orders them
  kNonCoherent,    ///< load_stream or load_cached of memory that the kernel writes
  kDivergence,     ///< a barrier, shuffle, vote or mma that some threads of the block or warp do not reach
  kPendingCopy,    ///< the end of a thread with cp.async copies nobody waited for
  kRedZone,        ///< bytes beside a buffer changed by something that does not go through the context
  kLaunch,         ///< a launch that a device would refuse
  kCapture,        ///< an allocation, a copy or a wait while a graph is captured
};

/// what() names kernel, block, thread, line, the rule and the seed that repeats the run.
class Fault : public std::runtime_error {
 public:
  Fault(Rule rule, const std::string& message) : std::runtime_error(message), rule_(rule) {}
  Rule rule() const { return rule_; }

 private:
  Rule rule_;
};

/// The name of a type without the library's namespaces.
inline std::string type_name(const std::type_info& type) {
  int status = 0;
  char* text = abi::__cxa_demangle(type.name(), nullptr, nullptr, &status);
  std::string name = status == 0 ? text : type.name();
  std::free(text);
  for (const char* prefix : {"qat::v0::cuda::", "qat::v0::", "qat::", "(anonymous namespace)::"})
    for (std::size_t at; (at = name.find(prefix)) != std::string::npos;)
      name.erase(at, std::char_traits<char>::length(prefix));
  return name;
}

inline std::string text_of(const Site& site) {
  const std::string path = site.file;
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  return site.line == 0 ? name : name + ":" + std::to_string(site.line);
}

}  // namespace qat::emulation
