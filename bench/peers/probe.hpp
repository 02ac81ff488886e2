// Ceilings and the probe for foreign load, as requests.
#pragma once

#include <thread>

#include "../micro/bandwidth.hpp"
#include "../micro/ceilings.hpp"
#include "buffers.hpp"

namespace qat::bench {

/// Independent additions a second: they need the ports that a program on a sibling hardware thread takes. Median of
/// some hundred runs of ten microseconds each.
inline double add_rate() {
  constexpr int kLoops = 5000;
  std::vector<double> rates;
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::uint64_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    const double start = wall_seconds();
    for (int i = 0; i < kLoops; ++i) {
      a += 3, b += 3, c += 3, d += 3, e += 3, f += 3, g += 3, h += 3;
      asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g), "+r"(h));
    }
    rates.push_back(8.0 * kLoops / (wall_seconds() - start));
  }
  std::nth_element(rates.begin(), rates.begin() + 150, rates.end());
  return rates[150];
}

/// Cycles a second, from a chain of dependent additions.
inline double clock_rate() {
  constexpr int kLoops = 20000;
  return best_rate(8.0 * kLoops, 200, [] {
    std::uint64_t a = 1;
    for (int i = 0; i < kLoops; ++i) QAT_UNROLL(8)
    for (int k = 0; k < 8; ++k) {
      a += a;
      asm volatile("" : "+r"(a));
    }
  });
}

/// The sum of what `threads` threads reach at the same time.
template <class F>
double rate_of_threads(long threads, F&& rate) {
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < rates.size(); ++i) others.emplace_back([&, i] { rates[i] = rate(); });
  rates[0] = rate();
  for (std::thread& t : others) t.join();
  double sum = 0;
  for (const double r : rates) sum += r;
  return sum;
}

/// name=fma|int8|bf16|group_bound|adds|clock: a rate, as one operation that takes 1 / rate seconds.
inline Work register_ceiling_work(const Request& request) {
  const std::string name = request.text("name", "");
  double (*const rate)() = name == "fma"           ? fma_rate
                           : name == "int8"        ? int8_rate
                           : name == "bf16"        ? bf16_rate
                           : name == "group_bound" ? group_bound_rate
                           : name == "adds"        ? add_rate
                           : name == "clock"       ? clock_rate
                                                   : nullptr;
  if (rate == nullptr) throw std::invalid_argument("ceiling: name is '" + name + "'");
  if (rate() == 0.0) throw Missing("this processor has no " + name);
  const long threads = request.number("threads", 1);
  Work work;
  work.ops = 1;
  work.seconds = [rate, threads] { return 1.0 / rate_of_threads(threads, rate); };
  return work;
}

/// name=read|copy|readR_writeW (lines of 64 bytes), mib: bytes a second; but for packing, read8_write1, what is read
/// and what is written count.
inline Work memory_ceiling_work(const Request& request) {
  struct State {
    index_t n;
    AlignedBuffer<float> x, z, y;
  };
  const std::string name = request.text("name", "");
  const index_t n = request.number("mib", 256) << 18;
  auto s = std::make_shared<State>(State{n, random_values(n, 1), AlignedBuffer<float>(name == "read2_write1" ? n : 0),
                                         AlignedBuffer<float>(name == "read" ? 0 : n)});
  for (float& v : s->z) v = 0.0f;
  for (float& v : s->y) v = 0.0f;
  Work work;
  const double bytes = static_cast<double>(n) * 4;
  const auto is = [&](const char* mix, double moved, auto seconds) {
    if (name != mix) return;
    work.bytes = moved;
    work.seconds = [s, seconds] { return seconds(*s); };
  };
  is("read", bytes, [](const State& m) { return fastest_read(m.x.data(), m.n); });
  is("copy", 2 * bytes, [](State& m) { return fastest_copy(m.x.data(), m.y.data(), m.n); });
  is("read1_write4", 1.25 * bytes,
     [](State& m) { return fastest_mix<1, 1, 4>(m.x.data(), m.x.data(), m.y.data(), m.n); });
  is("read2_write1", 3 * bytes, [](State& m) { return fastest_mix<1, 2, 1>(m.x.data(), m.z.data(), m.y.data(), m.n); });
  // Packing to four bits counts what it reads alone.
  is("read8_write1", bytes, [](State& m) { return fastest_mix<8, 1, 1>(m.x.data(), m.x.data(), m.y.data(), m.n / 8); });
  if (!work.seconds) throw Missing("not built: memory name=" + name);
  return work;
}

}  // namespace qat::bench
