// Training steps through recipe::train: one step a request.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "qat/recipe/train.hpp"
#include "worker.hpp"

namespace qat::bench {

/// recipe::train on a thread of its own that stops before every step until it is asked for one.
class SteppedTraining {
 public:
  SteppedTraining(const LlamaConfig& config, const std::string& scheme, bool head, int threads)
      : backend_(threads), model_(config), tokens_(65536) {
    model_.randomize(1, 0.05f);
    if (scheme != "float") {
      std::vector<recipe::LayerRule> rules = {{"linear", recipe::parse_scheme(scheme)}};
      if (head) rules.push_back({"head", recipe::parse_scheme(scheme)});
      recipe::prepare(model_, rules);
    }
    CounterRandom random(2);
    for (std::int32_t& t : tokens_)
      t = static_cast<std::int32_t>(random.next_below(static_cast<std::uint32_t>(config.vocab_size)));
    thread_ = std::thread([this] { train(); });
  }
  ~SteppedTraining() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      wanted_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  /// Seconds of the next step.
  double step() {
    std::unique_lock<std::mutex> lock(mutex_);
    reset_peak();
    wanted_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !wanted_ || !error_.empty(); });
    if (!error_.empty()) throw std::runtime_error(error_);
    return seconds_;
  }
  index_t peak_bytes() const { return memory_stats().peak_bytes; }
  index_t parameters() {
    index_t n = 0;
    for (const Parameter* p : model_.parameters()) n += p->value.size();
    return n;
  }

 private:
  struct Stopped {};

  void train() {
    recipe::TrainConfig config;  // 8 x 256 tokens a step
    config.steps = 1000000;
    config.warmup_steps = 1;
    try {
      await();
      recipe::train(backend_, model_, tokens_, config, [this](const recipe::StepReport& report) {
        {
          const std::lock_guard<std::mutex> lock(mutex_);
          seconds_ = report.seconds;
          wanted_ = false;
        }
        changed_.notify_all();
        await();
      });
    } catch (const Stopped&) {
    } catch (const std::exception& e) {
      const std::lock_guard<std::mutex> lock(mutex_);
      error_ = e.what();
      changed_.notify_all();
    }
  }
  void await() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return wanted_; });
    if (stop_) throw Stopped();
  }

  CpuBackend backend_;
  nn::Transformer model_;
  std::vector<std::int32_t> tokens_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false, stop_ = false;
  double seconds_ = 0;
  std::string error_;
};

/// scheme, head (1: the tied head is quantized too), threads: a step of the 12M shape, L6 C384 V4096, 8 x 256 tokens.
/// Operations: 6 per parameter and token, and 12 L C T^2 B of attention. peak_bytes: of the last step, model included.
inline Work step_work(const Request& request) {
  LlamaConfig c;
  c.dim = 384;
  c.hidden_dim = 1024;
  c.n_layers = c.n_heads = c.n_kv_heads = 6;
  c.head_dim = 64;
  c.vocab_size = 4096;
  c.max_seq_len = 256;
  auto s = std::make_shared<SteppedTraining>(c, request.text("scheme", "float"), request.number("head", 0) != 0,
                                             static_cast<int>(request.number("threads", 1)));
  for (int i = 0; i < 2; ++i) s->step();
  Work work;
  work.ops = 6.0 * static_cast<double>(s->parameters()) * 2048 + 12.0 * 6 * 384 * 256 * 256 * 8;
  work.extra["peak_bytes"] = static_cast<double>(s->peak_bytes());
  work.seconds = [s] { return s->step(); };
  return work;
}

}  // namespace qat::bench
