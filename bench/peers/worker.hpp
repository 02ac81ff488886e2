// A measuring program that stays alive and answers one request a line, so that a driver can alternate between several.
//
//   time KIND key=value ...    one sample: {"seconds": of a call, "ops": ..., "bytes": ..., "cpu_share": ..., more}
//   check KIND key=value ...   {"ok": true} or {"ok": false, "error": "..."}
//   forget                     frees what was prepared: {"ok": true}
// Anything that cannot be had is {"missing": "why"}. What a request needs is prepared at its first time and kept.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace qat::bench {

/// The words of a request: key=value.
class Request {
 public:
  explicit Request(const std::string& text) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      const std::size_t cut = word.find('=');
      if (cut != std::string::npos) values_[word.substr(0, cut)] = word.substr(cut + 1);
    }
  }
  std::string text(const std::string& key, const std::string& otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : found->second;
  }
  long number(const std::string& key, long otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : std::stol(found->second);
  }
  long number(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) throw std::invalid_argument("request: '" + key + "' is missing");
    return std::stol(found->second);
  }

 private:
  std::map<std::string, std::string> values_;
};

/// What a request measures. call(i) runs it once, i counts calls (to rotate through weights).
struct Work {
  double ops = 0, bytes = 0;  ///< of a call
  std::function<void(long)> call;
  std::function<std::string()> check;         ///< empty: right; else what is wrong
  std::function<double()> seconds = nullptr;  ///< in place of timing call(): seconds of a call, measured by itself
  std::map<std::string, double> extra = {};   ///< further fields of the reply
};

/// Thrown where this machine or build has not got what is asked for.
struct Missing : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Maker = std::function<Work(const Request&)>;
using Makers = std::map<std::string, Maker>;

inline double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
/// Processor time of this process: less than the wall's if another program had the core.
inline double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/// Median seconds of a call over `budget` seconds and at least five batches, or as many as a second holds; a batch
/// takes a millisecond or one call.
inline double time_calls(const std::function<void(long)>& call, double budget) {
  long n = 0;
  call(n++);
  double start = wall_seconds();
  call(n++);
  const double once = wall_seconds() - start;
  const long batch = once > 1e-3 ? 1 : 1 + static_cast<long>(1e-3 / (once + 1e-9));
  std::vector<double> seconds;
  const double begin = wall_seconds();
  while (seconds.empty() || wall_seconds() - begin < (seconds.size() < 5 ? 1.0 : budget)) {
    start = wall_seconds();
    for (long i = 0; i < batch; ++i) call(n++);
    seconds.push_back((wall_seconds() - start) / static_cast<double>(batch));
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  return seconds[seconds.size() / 2];
}

inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + "\"";
}

/// Answers requests from standard input until it closes. version: of what is measured.
inline int serve(const Makers& makers, const std::string& version) {
  std::map<std::string, Work> prepared;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb, kind, rest;
    words >> verb >> kind;
    std::getline(words, rest);
    try {
      if (verb == "forget") {
        prepared.clear();
        std::printf("{\"ok\": true}\n");
      } else if (verb == "version") {
        std::printf("{\"version\": %s}\n", quoted(version).c_str());
      } else {
        const Request request(rest);
        const auto maker = makers.find(kind);
        if (maker == makers.end()) throw Missing("not built: " + kind);
        auto found = prepared.find(kind + rest);
        if (found == prepared.end()) found = prepared.emplace(kind + rest, maker->second(request)).first;
        const Work& work = found->second;
        if (verb == "check") {
          if (!work.check) throw Missing("nothing to compare with");
          const std::string error = work.check();
          std::printf(error.empty() ? "{\"ok\": true}\n" : "{\"ok\": false, \"error\": %s}\n", quoted(error).c_str());
        } else if (verb == "time") {
          const double budget = static_cast<double>(request.number("ms", 150)) * 1e-3;
          const double wall = wall_seconds(), cpu = cpu_seconds();
          const double seconds = work.seconds ? work.seconds() : time_calls(work.call, budget);
          const double share = (cpu_seconds() - cpu) / (wall_seconds() - wall);
          std::printf("{\"seconds\": %.9g, \"ops\": %.9g, \"bytes\": %.9g, \"cpu_share\": %.3f", seconds, work.ops,
                      work.bytes, share);
          for (const auto& [key, value] : work.extra) std::printf(", %s: %.9g", quoted(key).c_str(), value);
          std::printf("}\n");
        } else {
          throw std::invalid_argument("unknown request '" + verb + "'");
        }
      }
    } catch (const Missing& e) {
      std::printf("{\"missing\": %s}\n", quoted(e.what()).c_str());
    } catch (const std::exception& e) {
      std::printf("{\"error\": %s}\n", quoted(e.what()).c_str());
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace qat::bench
