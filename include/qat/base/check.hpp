// Errors: one exception type with a code and a message that names what was found and what is accepted.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <type_traits>

#include "qat/base/config.hpp"

namespace qat::inline v0 {

enum class ErrorCode {
  kInvalidArgument,  ///< a value outside what the function accepts
  kShapeMismatch,    ///< extents that do not fit together
  kUnsupported,      ///< well-formed, but not something qat does
  kBadFile,          ///< a file whose content is wrong
  kIo,               ///< the operating system said no
  kDevice,           ///< no usable GPU, or the GPU refused
};

/// Text of bounded length, built without allocation; longer text is cut.
template <std::size_t Capacity>
class FixedString {
 public:
  constexpr FixedString() = default;
  constexpr FixedString(const char* text) { append(text); }  // NOLINT: implicit by design

  constexpr FixedString& append(const char* text, std::size_t length) {
    for (std::size_t i = 0; i < length && size_ < Capacity; ++i) data_[size_++] = text[i];
    return *this;
  }
  constexpr FixedString& append(const char* text) { return append(text, length_of(text)); }
  constexpr FixedString& append(char c) { return append(&c, 1); }
  constexpr FixedString& append(long long value) {
    if (value >= 0) return append(static_cast<unsigned long long>(value));
    return append('-').append(0ULL - static_cast<unsigned long long>(value));
  }
  constexpr FixedString& append(unsigned long long value) {
    char digits[20];
    std::size_t n = 0;
    do {
      digits[n++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (n > 0) append(digits[--n]);
    return *this;
  }
  /// The shortest of 6 to 9 significant digits that reads back as the same float; 9 digits for values no float holds.
  FixedString& append(double value) {
    char text[32];
    for (int digits = 6; digits <= 9; ++digits) {
      std::snprintf(text, sizeof text, "%.*g", digits, value);
      if (std::strtof(text, nullptr) == static_cast<float>(value) &&
          static_cast<double>(static_cast<float>(value)) == value)
        break;
    }
    return append(text);
  }

  constexpr const char* c_str() const { return data_; }
  constexpr const char* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  friend constexpr bool operator==(const FixedString& a, const FixedString& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)
      if (a.data_[i] != b.data_[i]) return false;
    return true;
  }

 private:
  static constexpr std::size_t length_of(const char* text) {
    std::size_t n = 0;
    while (text[n] != '\0') ++n;
    return n;
  }
  char data_[Capacity + 1] = {};
  std::size_t size_ = 0;
};

/// What every checked function of qat throws. what() is one line that names the argument, file, tensor or key, what was
/// found and what is accepted.
class Error : public std::exception {
 public:
  Error(ErrorCode code, const FixedString<1000>& message) : code_(code), message_(message) {}
  ErrorCode code() const noexcept { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  FixedString<1000> message_;
};

namespace detail {
template <std::size_t N, class Part>
void append_part(FixedString<N>& out, const Part& part) {
  if constexpr (std::is_same_v<Part, bool>) {
    out.append(part ? "true" : "false");
  } else if constexpr (std::is_same_v<Part, char>) {
    out.append(part);
  } else if constexpr (std::is_floating_point_v<Part>) {
    out.append(static_cast<double>(part));
  } else if constexpr (std::is_unsigned_v<Part>) {
    out.append(static_cast<unsigned long long>(part));
  } else if constexpr (std::is_integral_v<Part>) {
    out.append(static_cast<long long>(part));
  } else if constexpr (std::is_convertible_v<const Part&, const char*>) {
    out.append(static_cast<const char*>(part));
  } else {
    out.append(part.data(), part.size());  // std::string, std::string_view, FixedString
  }
}
}  // namespace detail

/// Concatenates text, numbers, strings and string views into one bounded line. Parts by value: literals of any length
/// are one type then, which spares compile time.
template <class... Parts>
FixedString<1000> concat(Parts... parts) {
  FixedString<1000> out;
  (detail::append_part(out, parts), ...);
  return out;
}

/// Throws Error; prints and aborts when the including program has no exceptions.
template <class... Parts>
[[noreturn]] QAT_NOINLINE void raise(ErrorCode code, Parts... parts) {
#if defined(__cpp_exceptions)
  throw Error(code, concat(parts...));
#else
  (void)code;
  std::fprintf(stderr, "qat: %s\n", concat(parts...).c_str());
  std::abort();
#endif
}

}  // namespace qat::inline v0

/// Checked in every build: QAT_CHECK(condition, kShapeMismatch, "gemm: K is ", a, " in A but ", b, " in B");
#define QAT_CHECK(condition, code, ...)                  \
  do {                                                   \
    if (!(condition)) [[unlikely]]                       \
      ::qat::raise(::qat::ErrorCode::code, __VA_ARGS__); \
  } while (false)

/// Preconditions of kernels, checked in debug builds (no NDEBUG).
#if defined(NDEBUG)
#define QAT_DCHECK(condition, ...) ((void)0)
#else
#define QAT_DCHECK(condition, ...) QAT_CHECK(condition, kInvalidArgument, __VA_ARGS__)
#endif
