// What a hostile including program defines: names that common headers define as macros. Everything from the standard
// library and the vendor comes first, because only our own text is on trial. Included before all headers of qat by
// headers.py.
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <concepts>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <regex>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>
#if __has_include(<yaml-cpp/yaml.h>)
#include <yaml-cpp/yaml.h>
#endif
#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif
#if __has_include(<sentencepiece_processor.h>)
#include <sentencepiece_processor.h>
#endif

#undef major
#undef minor
#undef makedev
#undef unix
#undef linux
#undef I
#undef B0
#undef OVERFLOW
#undef UNDERFLOW
#undef DOMAIN

// <complex.h>, <termios.h>, <sys/sysmacros.h>, <math.h>
#define I qat_poison I
#define B0 qat_poison B0
#define major(...) qat_poison major
#define minor(...) qat_poison minor
#define makedev(...) qat_poison makedev
#define isnan(...) qat_poison isnan
#define isinf(...) qat_poison isinf
#define isfinite(...) qat_poison isfinite
#define signbit(...) qat_poison signbit
#define DOMAIN qat_poison DOMAIN
#define OVERFLOW qat_poison OVERFLOW
#define UNDERFLOW qat_poison UNDERFLOW
#define unix qat_poison unix
#define linux qat_poison linux
// <windows.h>
#define min(...) qat_poison min
#define max(...) qat_poison max
#define small qat_poison small
#define near qat_poison near
#define far qat_poison far
#define interface qat_poison interface
#define IN qat_poison IN
#define OUT qat_poison OUT
#define OPTIONAL qat_poison OPTIONAL
#define ERROR qat_poison ERROR
#define TRUE qat_poison TRUE
#define FALSE qat_poison FALSE
#define CONST qat_poison CONST
// X11, Qt, AssertMacros.h, ctype-like macros of embedded libraries, loggers and test frameworks
#define None qat_poison None
#define Bool qat_poison Bool
#define Status qat_poison Status
#define Success qat_poison Success
#define emit qat_poison emit
#define slots qat_poison slots
#define signals qat_poison signals
#define foreach qat_poison foreach
#define check(...) qat_poison check
#define verify(...) qat_poison verify
#define require(...) qat_poison require
#define CHECK(...) qat_poison CHECK
#define ASSERT(...) qat_poison ASSERT
#define LOG(...) qat_poison LOG
#define DEBUG qat_poison DEBUG
#define PI qat_poison PI
#define EPS qat_poison EPS
