// How kernels are run, and what is counted of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fault.hpp"

namespace qat::emulation {

struct Settings {
  std::uint64_t seed = 1;  ///< of the order of blocks, warps and lanes, and of what shared memory holds at first
  bool races = true;       ///< memory for them is 8 bytes for each byte that kernels touch
  bool requests = false;   ///< count bank conflicts and sectors; see requests()
  std::size_t memory_bytes = std::size_t{1} << 36;  ///< of the device, for what programs allocate
};
inline Settings& settings() {
  static Settings settings;
  return settings;
}

/// Settings for a scope.
class With {
 public:
  explicit With(const Settings& s) : before_(settings()) { settings() = s; }
  With(const With&) = delete;
  With& operator=(const With&) = delete;
  ~With() { settings() = before_; }

 private:
  Settings before_;
};

/// Sums over all launches since reset_counters().
struct Counters {
  std::uint64_t launches = 0, blocks = 0;
  std::uint64_t loaded_bytes = 0, stored_bytes = 0;                ///< global memory, cp.async included
  std::uint64_t shared_loaded_bytes = 0, shared_stored_bytes = 0;  ///< ldmatrix and cp.async included
  std::uint64_t narrow_accesses = 0;                               ///< of global memory, of less than 16 bytes
  std::uint64_t barriers = 0;                                      ///< sync() of a block
  std::uint64_t mma = 0, atomics = 0;
};

/// All executions of one line by whole warps, with Settings::requests. Lanes that a branch separates count as several.
struct Requests {
  std::uint64_t count = 0;
  unsigned worst_ways = 0;  ///< shared memory: 1 is free of bank conflicts
  /// Shared memory: passes over the banks. Global memory: sectors of 32 bytes. ideal: as many as the bytes need.
  std::uint64_t transactions = 0, ideal = 0;
};
using Line = std::pair<std::string, int>;  // file without folders, line

namespace detail {
struct Report {
  Counters counters;
  std::map<Line, Requests> shared, global;
};
inline Report& report() {
  static Report report;
  return report;
}

/// One access of a lane, until its warp converges.
struct Access {
  Site site;
  std::uint64_t address;
  std::uint8_t bytes;
  bool global, store;
  bool same_instruction(const Access& o) const {
    return site == o.site && bytes == o.bytes && global == o.global && store == o.store;
  }
};

inline std::uint64_t distinct(std::vector<std::uint64_t>& values) {
  std::sort(values.begin(), values.end());
  return static_cast<std::uint64_t>(std::unique(values.begin(), values.end()) - values.begin());
}

inline void count_global(Requests& total, const std::vector<Access>& lanes) {
  std::vector<std::uint64_t> sectors, bytes;
  for (const Access& a : lanes)
    for (unsigned i = 0; i < a.bytes; ++i) {
      sectors.push_back((a.address + i) / 32);
      bytes.push_back(a.address + i);
    }
  total.transactions += distinct(sectors);
  total.ideal += (distinct(bytes) + 31) / 32;
}

/// 128 bytes a pass: 32 lanes of up to 4 bytes, 16 of 8, 8 of 16. Lanes at one word share it.
inline void count_shared(Requests& total, const std::vector<Access>& lanes) {
  const std::size_t together = lanes.front().bytes == 16 ? 8 : lanes.front().bytes == 8 ? 16 : 32;
  for (std::size_t first = 0; first < lanes.size(); first += together) {
    std::vector<std::uint64_t> bank[32];
    for (std::size_t l = first; l < std::min(first + together, lanes.size()); ++l)
      for (std::uint64_t word = lanes[l].address / 4; word <= (lanes[l].address + lanes[l].bytes - 1) / 4; ++word)
        bank[word % 32].push_back(word);
    std::uint64_t ways = 0;
    for (auto& words : bank) ways = std::max(ways, distinct(words));
    total.worst_ways = std::max(total.worst_ways, static_cast<unsigned>(ways));
    total.transactions += ways;
    total.ideal += 1;
  }
}

/// Puts the accesses of 32 lanes since they last converged into requests, and forgets them.
inline void count_requests(std::vector<Access> (&lane)[32]) {
  std::size_t at[32] = {};
  for (;;) {
    int leader = -1;
    for (int l = 0; l < 32 && leader < 0; ++l)
      if (at[l] < lane[l].size()) leader = l;
    if (leader < 0) break;
    const Access first = lane[leader][at[leader]];
    std::vector<Access> group;
    for (int l = leader; l < 32; ++l)
      if (at[l] < lane[l].size() && lane[l][at[l]].same_instruction(first)) group.push_back(lane[l][at[l]++]);
    Requests& total =
        (first.global ? report().global : report().shared)[{text_of({first.site.file, 0}), first.site.line}];
    ++total.count;
    first.global ? count_global(total, group) : count_shared(total, group);
  }
  for (auto& accesses : lane) accesses.clear();
}
}  // namespace detail

/// Called with the name of each kernel that is launched.
inline std::function<void(const std::string&)>& launch_observer() {
  static std::function<void(const std::string&)> observer;
  return observer;
}

inline const Counters& counters() { return detail::report().counters; }
inline const std::map<Line, Requests>& shared_requests() { return detail::report().shared; }
inline const std::map<Line, Requests>& global_requests() { return detail::report().global; }
inline void reset_counters() { detail::report() = {}; }

/// The worst bank conflict of any line: 1 if there is none, 0 if shared memory was not used.
inline unsigned worst_bank_ways() {
  unsigned ways = 0;
  for (const auto& [line, r] : shared_requests()) ways = std::max(ways, r.worst_ways);
  return ways;
}

}  // namespace qat::emulation
