// Decoder-only transformer: pre-norm blocks of grouped-query attention and a feed-forward layer, tied or untied head.
// Llama, Mistral, Qwen, Gemma and GPT-2 are configurations of it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "qat/base/random.hpp"
#include "qat/nn/attention.hpp"
#include "qat/nn/embedding.hpp"
#include "qat/nn/linear_cross_entropy.hpp"
#include "qat/nn/llama_config.hpp"
#include "qat/nn/mlp.hpp"
#include "qat/nn/norm.hpp"

namespace qat::inline v0::nn {

class Transformer;

/// Scores whole sequences in a model's place, with weights of its own that follow the model's.
class ScoringDevice {
 public:
  virtual ~ScoringDevice() = default;
  /// As Transformer::evaluate. tokens, targets and losses, which may be empty, are in host memory.
  virtual ops::CrossEntropyResult evaluate(const CpuBackend& backend, Transformer& model,
                                           View<const std::int32_t, 1> tokens, View<const std::int32_t, 1> targets,
                                           index_t batch, View<float, 1> losses) = 0;

 protected:
  ScoringDevice() = default;
  ScoringDevice(const ScoringDevice&) = default;
  ScoringDevice& operator=(const ScoringDevice&) = default;
};

/// B sequences of T tokens travel as (B * T) tokens and (B * T, C) rows. Parameters carry the names that
/// Hugging Face gives Llama's, whatever the architecture.
///
/// Three forward passes: on a tape (training), without one (evaluation: nothing is saved, memory bounded by a fixed
/// number of rows), and incremental with a key/value cache. All three give the same bits for the same tokens.
class Transformer {
 public:
  struct Block {
    Norm input_layernorm;
    Attention self_attn;
    Norm post_attention_layernorm;
    Mlp mlp;
    Block(const std::string& name, const LlamaConfig& c)
        : input_layernorm(name + ".input_layernorm", c.dim, c.norm_eps, c.norm),
          self_attn(name + ".self_attn", c),
          post_attention_layernorm(name + ".post_attention_layernorm", c.dim, c.norm_eps, c.norm),
          mlp(name + ".mlp", c) {}
    /// f(Norm&) and f(Linear&) for each layer in order.
    template <class F>
    void visit(const F& f) {
      f(input_layernorm);
      self_attn.visit(f);
      f(post_attention_layernorm);
      mlp.visit(f);
    }
  };

  /// Zero weights, norms of one.
  /// @throws qat::Error (kInvalidArgument) naming a size that does not make a model
  explicit Transformer(const LlamaConfig& config) : config_(checked(config)) {
    embed_tokens_ = Embedding("model.embed_tokens", config.vocab_size, config.dim);
    if (config.learned_positions) {
      embed_positions_ =
          std::make_unique<Parameter>("model.embed_positions.weight", Tensor<float>({config.max_seq_len, config.dim}));
    }
    for (index_t i = 0; i < config.n_layers; ++i) blocks_.emplace_back("model.layers." + std::to_string(i), config);
    norm_ = Norm("model.norm", config.dim, config.norm_eps, config.norm);
    lm_head_ = config.tied ? Linear("lm_head", embed_tokens_.shared_weight())
                           : Linear("lm_head", config.dim, config.vocab_size);
  }
  Transformer(Transformer&&) = default;
  Transformer& operator=(Transformer&&) = default;

  const LlamaConfig& config() const { return config_; }
  Embedding& embed_tokens() { return embed_tokens_; }
  std::vector<Block>& blocks() { return blocks_; }
  Parameter* embed_positions() { return embed_positions_.get(); }  // (max_seq_len, C), null with rotary positions
  Norm& norm() { return norm_; }
  Linear& lm_head() { return lm_head_; }

  /// Where evaluate() of whole sequences runs from now on; null: here. Everything else goes on here.
  void set_scoring_device(std::shared_ptr<ScoringDevice> device) { scoring_device_ = std::move(device); }
  bool has_scoring_device() const { return scoring_device_ != nullptr; }

  /// Every linear layer in the order of execution, the head last; its name() is what filters match.
  std::vector<Linear*> linear_layers() {
    std::vector<Linear*> layers;
    for (Block& b : blocks_)
      b.visit([&](auto& layer) {
        if constexpr (std::is_same_v<decltype(layer), Linear&>) layers.push_back(&layer);
      });
    layers.push_back(&lm_head_);
    return layers;
  }

  /// Every trained tensor once, in one fixed order: embedding, positions, layers in order, final norm, untied head.
  std::vector<Parameter*> parameters() {
    std::vector<Parameter*> all = {&embed_tokens_.weight()};
    if (embed_positions_ != nullptr) all.push_back(embed_positions_.get());
    const auto append = [&all](auto& layer) {
      all.push_back(&layer.weight());
      if (layer.bias() != nullptr) all.push_back(layer.bias());
    };
    for (Block& b : blocks_) b.visit(append);
    append(norm_);
    if (lm_head_.shared_weight() != embed_tokens_.shared_weight()) append(lm_head_);
    return all;
  }

  /// Normal weights of the given deviation (the projections back into the residual stream by 1 / sqrt(2 layers) less),
  /// norms as Norm::reset() has them, biases of zero. Each tensor draws from its own stream, so the bits depend on the
  /// seed and the tensor's place alone.
  void randomize(std::uint64_t seed, float deviation = 0.02f) {
    const float residual = deviation / std::sqrt(2.0f * static_cast<float>(config_.n_layers));
    std::uint64_t stream = 0;
    for (Parameter* p : parameters()) {
      const bool back = p->name.ends_with("o_proj.weight") || p->name.ends_with("down_proj.weight");
      CounterRandom random(seed, stream++);
      if (p->value.rank() == 1) {
        const bool zero = p->name.ends_with(".bias") || config_.norm == NormKind::kRmsPlusOne;
        p->value.fill(zero ? 0.0f : 1.0f);
        continue;
      }
      for (float& w : p->value) {
        float sum = -6.0f;  // twelve uniform numbers: variance one, and exact in float on every machine
        for (int i = 0; i < 12; ++i) sum += random.next_float();
        w = sum * (back ? residual : deviation);
      }
    }
  }

  /// Takes the tensors named as parameters() are. A head of its own makes the model untied, none ties it, whatever it
  /// was.
  /// @throws qat::Error naming a missing, surplus or wrongly shaped tensor; the model is then unchanged
  void load(std::map<std::string, Tensor<float>> tensors) {
    const bool tied = !tensors.contains("lm_head.weight");
    QAT_CHECK(tied == config_.tied, kInvalidArgument, "Transformer::load: lm_head.weight is ",
              tied ? "missing" : "present", ", but the configuration says ", config_.tied ? "tied" : "untied");
    const std::vector<Parameter*> all = parameters();
    for (const Parameter* p : all) {
      const auto found = tensors.find(p->name);
      QAT_CHECK(found != tensors.end(), kInvalidArgument, "Transformer::load: tensor '", p->name, "' is missing");
      QAT_CHECK(found->second.shape() == p->value.shape(), kShapeMismatch, "Transformer::load: tensor '", p->name,
                "' has shape ", to_string(found->second.shape()), ", must be ", to_string(p->value.shape()));
    }
    for (const auto& [name, tensor] : tensors) {
      bool known = false;
      for (const Parameter* p : all) known = known || p->name == name;
      QAT_CHECK(known, kInvalidArgument, "Transformer::load: tensor '", name, "' is not part of this model");
    }
    for (Parameter* p : all) {
      p->value = std::move(tensors.find(p->name)->second);
      p->grad = Tensor<float>();
    }
  }
  /// Copies of the parameters under their names.
  std::map<std::string, Tensor<float>> tensors() {
    std::map<std::string, Tensor<float>> out;
    for (const Parameter* p : parameters()) out.emplace(p->name, p->value.clone());
    return out;
  }

  /// Logits on a tape.   tokens (batch * T); returns (batch * T, V). The model must outlive the tape's use.
  Variable forward(Tape& tape, View<const std::int32_t, 1> tokens, index_t batch) {
    return lm_head_.forward(tape, hidden(tape, tokens, batch));
  }

  /// What the head reads, on a tape.   returns (batch * T, C)
  Variable hidden(Tape& tape, View<const std::int32_t, 1> tokens, index_t batch) {
    return hidden(tape, tokens, ops::Sequences(batch, check_tokens(tokens, batch)));
  }
  /// The same for packed sequences: each has the bits it would have alone.   tokens (rows); returns (rows, C)
  Variable hidden(Tape& tape, View<const std::int32_t, 1> tokens, const ops::Sequences& sequences) {
    check_tokens(tokens, sequences);
    ensure_positions(sequences.longest());
    Variable x = embed(tape, tokens, sequences);
    for (Block& b : blocks_) {
      const Variable attended = b.self_attn.forward(tape, b.input_layernorm.forward(tape, x), table_, sequences);
      x = autodiff::add(tape, x, attended, autodiff::Storage::kReuse);
      const Variable fed = b.mlp.forward(tape, b.post_attention_layernorm.forward(tape, x));
      x = autodiff::add(tape, x, fed, autodiff::Storage::kReuse);
    }
    return norm_.forward(tape, x);
  }

  /// Mean cross-entropy on a tape, without the logits of all rows.   targets (batch * T), ignore_index where they do
  /// not count
  Variable loss(Tape& tape, View<const std::int32_t, 1> tokens, View<const std::int32_t, 1> targets, index_t batch,
                ops::CrossEntropyResult* stats = nullptr) {
    return loss(tape, tokens, targets, ops::Sequences(batch, check_tokens(tokens, batch)), stats);
  }
  /// The same for packed sequences.   targets (rows)
  Variable loss(Tape& tape, View<const std::int32_t, 1> tokens, View<const std::int32_t, 1> targets,
                const ops::Sequences& sequences, ops::CrossEntropyResult* stats = nullptr) {
    const Variable x = hidden(tape, tokens, sequences);
    const Variable mean = linear_cross_entropy(tape, lm_head_, x, targets, ops::kIgnoreIndex, stats);
    tape.discard(x);
    return mean;
  }

  /// Logits without a tape.   tokens (batch * T); returns (batch * T, V)
  Tensor<float> forward(const CpuBackend& backend, View<const std::int32_t, 1> tokens, index_t batch) {
    check_tokens(tokens, batch);
    Tensor<float> logits = Tensor<float>::uninitialized({tokens.shape[0], config_.vocab_size});
    lm_head_.refresh(backend);
    for_each_hidden(backend, tokens, batch, [&](index_t row, View<const float, 2> hidden) {
      lm_head_.forward_refreshed(backend, hidden, logits.view<2>().slice(0, row, hidden.shape[0]));
    });
    return logits;
  }

  /// Sum of the negative log-likelihoods of the targets, with logits of a few hundred rows at a time.
  /// losses (batch * T), if not empty, receives the nats of each target.
  ops::CrossEntropyResult evaluate(const CpuBackend& backend, View<const std::int32_t, 1> tokens,
                                   View<const std::int32_t, 1> targets, index_t batch, View<float, 1> losses = {}) {
    check_tokens(tokens, batch);
    QAT_CHECK(targets.shape[0] == tokens.shape[0], kShapeMismatch, "Transformer::evaluate: ", targets.shape[0],
              " targets for ", tokens.shape[0], " tokens");
    if (scoring_device_ != nullptr) return scoring_device_->evaluate(backend, *this, tokens, targets, batch, losses);
    RowScorer scorer(*this, backend, targets, losses);
    for_each_hidden(backend, tokens, batch, [&](index_t row, View<const float, 2> hidden) { scorer(row, hidden); });
    return scorer.total;
  }

  /// The same for new tokens of sequences whose beginning the cache holds; they are appended to it. Each target has
  /// the bits that the whole sequence gives it.   tokens, targets, losses (cache.batch * n)
  ops::CrossEntropyResult evaluate(const CpuBackend& backend, KvCache& cache, View<const std::int32_t, 1> tokens,
                                   View<const std::int32_t, 1> targets, View<float, 1> losses = {}) {
    QAT_CHECK(targets.shape[0] == tokens.shape[0], kShapeMismatch, "Transformer::evaluate: ", targets.shape[0],
              " targets for ", tokens.shape[0], " tokens");
    Workspace w = extend(backend, cache, tokens);
    const View<float, 2> x = w.x.view<2>();
    norm_.forward(backend, x, x);
    RowScorer scorer(*this, backend, targets, losses);
    for (index_t row = 0; row < x.shape[0]; row += kHeadRows)
      scorer(row, View<const float, 2>(x.slice(0, row, (std::min)(x.shape[0] - row, kHeadRows))));
    return scorer.total;
  }

  /// Appends tokens to the cache and returns the logits of each sequence's last one.
  /// tokens (cache.batch * n), n new tokens of each sequence; returns (cache.batch, V). Prefill and single steps alike:
  /// the logits are those of the full forward pass, bit for bit.
  Tensor<float> decode(const CpuBackend& backend, KvCache& cache, View<const std::int32_t, 1> tokens) {
    Workspace w = extend(backend, cache, tokens);
    const index_t batch = cache.batch, n = tokens.shape[0] / batch;
    Tensor<float> last = Tensor<float>::uninitialized({batch, config_.dim});
    for (index_t b = 0; b < batch; ++b)
      for (index_t c = 0; c < config_.dim; ++c) last[b * config_.dim + c] = w.x[(b * n + n - 1) * config_.dim + c];
    norm_.forward(backend, last.view<2>(), last.view<2>());
    Tensor<float> logits = Tensor<float>::uninitialized({batch, config_.vocab_size});
    lm_head_.forward(backend, last.view<2>(), logits.view<2>());
    return logits;
  }

 private:
  /// Activations of one pass without a tape.
  struct Workspace {
    Tensor<float> x, normed;    // (N, C)
    Tensor<float> q, attended;  // (N, H * D)
    Tensor<float> k, v;         // (N, KV * D)
    Tensor<float> gate, up;     // (N, F)
    Workspace(const LlamaConfig& c, index_t rows)
        : x(Tensor<float>::uninitialized({rows, c.dim})),
          normed(Tensor<float>::uninitialized({rows, c.dim})),
          q(Tensor<float>::uninitialized({rows, c.n_heads * c.head_dim})),
          attended(Tensor<float>::uninitialized({rows, c.n_heads * c.head_dim})),
          k(Tensor<float>::uninitialized({rows, c.n_kv_heads * c.head_dim})),
          v(Tensor<float>::uninitialized({rows, c.n_kv_heads * c.head_dim})),
          gate(Tensor<float>::uninitialized({rows, c.hidden_dim})),
          up(Tensor<float>::uninitialized({rows, c.hidden_dim})) {}
  };

  /// Scores rows as they come: logits of at most kHeadRows at a time.
  struct RowScorer {
    Transformer& model;
    const CpuBackend& backend;
    View<const std::int32_t, 1> targets;
    View<float, 1> losses;  ///< of each target; may be empty
    Tensor<float> logits, scratch;
    ops::CrossEntropyResult total;

    RowScorer(Transformer& scored, const CpuBackend& b, View<const std::int32_t, 1> all_targets,
              View<float, 1> all_losses)
        : model(scored),
          backend(b),
          targets(all_targets),
          losses(all_losses),
          logits(Tensor<float>::uninitialized({kHeadRows, scored.config_.vocab_size})),
          scratch(Tensor<float>::uninitialized({kHeadRows})) {
      model.lm_head_.refresh(backend);
    }
    /// hidden (rows, C): normalized rows from `row` on
    void operator()(index_t row, View<const float, 2> hidden) {
      const index_t rows = hidden.shape[0];
      const View<float, 2> some = logits.view<2>().slice(0, 0, rows);
      model.lm_head_.forward_refreshed(backend, hidden, some);
      const View<float, 1> nats =
          losses.shape[0] == 0 ? scratch.view<1>().slice(0, 0, rows) : losses.slice(0, row, rows);
      const ops::CrossEntropyResult part = ops::softmax_cross_entropy(backend, some, targets.slice(0, row, rows), nats);
      total.sum += part.sum;
      total.targets += part.targets;
    }
  };

  static constexpr index_t kBodyRows = 2048;  ///< rows of one pass without a tape, unless one sequence is longer
  static constexpr index_t kHeadRows = 256;   ///< rows of logits at a time

  static const LlamaConfig& checked(const LlamaConfig& c) {
    const std::pair<const char*, index_t> sizes[] = {{"dim", c.dim},
                                                     {"hidden_dim", c.hidden_dim},
                                                     {"n_layers", c.n_layers},
                                                     {"n_heads", c.n_heads},
                                                     {"n_kv_heads", c.n_kv_heads},
                                                     {"head_dim", c.head_dim},
                                                     {"vocab_size", c.vocab_size},
                                                     {"max_seq_len", c.max_seq_len}};
    for (const auto& [name, size] : sizes)
      QAT_CHECK(size > 0, kInvalidArgument, "Transformer: ", name, " is ", size, ", must be positive");
    QAT_CHECK(c.n_heads % c.n_kv_heads == 0, kInvalidArgument, "Transformer: n_heads is ", c.n_heads,
              ", must be a multiple of n_kv_heads, ", c.n_kv_heads);
    QAT_CHECK(c.learned_positions || c.head_dim % 2 == 0, kInvalidArgument, "Transformer: head_dim is ", c.head_dim,
              ", must be even");
    QAT_CHECK(c.window >= 0, kInvalidArgument, "Transformer: window is ", c.window,
              ", must be positive, or 0 for none");
    return c;
  }

  /// Returns the tokens per sequence.
  index_t check_tokens(View<const std::int32_t, 1> tokens, index_t batch) const {
    const index_t n = tokens.shape[0];
    QAT_CHECK(batch > 0 && n > 0 && n % batch == 0, kShapeMismatch, "Transformer: ", n, " tokens do not make ", batch,
              " sequences");
    QAT_CHECK(n / batch <= config_.max_seq_len, kInvalidArgument, "Transformer: sequences of ", n / batch,
              " tokens, the model takes at most ", config_.max_seq_len);
    return n / batch;
  }
  void check_tokens(View<const std::int32_t, 1> tokens, const ops::Sequences& sequences) const {
    QAT_CHECK(tokens.shape[0] > 0 && tokens.shape[0] == sequences.rows(), kShapeMismatch,
              "Transformer: ", tokens.shape[0], " tokens for sequences of ", sequences.rows());
    QAT_CHECK(sequences.longest() <= config_.max_seq_len, kInvalidArgument, "Transformer: sequences of ",
              sequences.longest(), " tokens, the model takes at most ", config_.max_seq_len);
  }
  /// The table of angles grows with the longest sequence seen; a longer table starts with the same values.
  void ensure_positions(index_t positions) {
    if (config_.learned_positions || table_.positions() >= positions) return;
    index_t grown = table_.positions() * 2 > positions ? table_.positions() * 2 : positions;
    if (grown > config_.max_seq_len && positions <= config_.max_seq_len) grown = config_.max_seq_len;
    table_ = ops::rope_table(config_.rope, config_.head_dim, grown);
  }

  /// Rows of the embedding, scaled, with positions: what the first block reads.
  Variable embed(Tape& tape, View<const std::int32_t, 1> tokens, const ops::Sequences& sequences) {
    Variable x = embed_tokens_.forward(tape, tokens);
    if (config_.embedding_scale != 1.0f)
      x = autodiff::scale(tape, x, config_.embedding_scale, autodiff::Storage::kReuse);
    if (embed_positions_ == nullptr) return x;
    Tensor<std::int32_t> positions = Tensor<std::int32_t>::uninitialized({tokens.shape[0]});
    index_t row = 0;
    for (const ops::SequenceRun& run : sequences.runs())
      for (index_t i = 0; i < run.count * run.length; ++i) positions[row++] = static_cast<std::int32_t>(i % run.length);
    const Variable learned =
        autodiff::embedding(tape, tape.parameter(*embed_positions_), std::as_const(positions).flat());
    return autodiff::add(tape, x, learned, autodiff::Storage::kReuse);
  }
  /// The same without a tape, of `batch` sequences of n new tokens.   x, scratch (batch * n, C)
  void embed(const CpuBackend& backend, View<const std::int32_t, 1> tokens, index_t batch, index_t n,
             index_t first_position, View<float, 2> x, View<float, 2> scratch) {
    const auto flat = [](const View<float, 2>& v) { return view(v.data, v.size()); };
    embed_tokens_.forward(backend, tokens, x);
    if (config_.embedding_scale != 1.0f) ops::scale(backend, flat(x), config_.embedding_scale, flat(x));
    if (embed_positions_ == nullptr) return;
    Tensor<std::int32_t> positions = Tensor<std::int32_t>::uninitialized({batch * n});
    for (index_t i = 0; i < batch * n; ++i) positions[i] = static_cast<std::int32_t>(first_position + i % n);
    ops::embedding(backend, std::as_const(embed_positions_->value).view<2>(), std::as_const(positions).flat(), scratch);
    ops::add(backend, flat(x), flat(scratch), flat(x));
  }

  /// Embedding and blocks of `batch` sequences of n new tokens each; the result is left in w.x.
  void run_blocks(const CpuBackend& backend, Workspace& w, View<const std::int32_t, 1> tokens, index_t batch, index_t n,
                  index_t first_position, KvCache* cache) {
    const index_t rows = batch * n;
    const auto some = [rows](Tensor<float>& t) { return t.view<2>().slice(0, 0, rows); };
    const View<float, 2> x = some(w.x), normed = some(w.normed);
    const auto add_to_x = [&] {
      ops::add(backend, view(x.data, x.size()), view(normed.data, x.size()), view(x.data, x.size()));
    };
    embed(backend, tokens, batch, n, first_position, x, normed);
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      Block& b = blocks_[i];
      b.input_layernorm.forward(backend, x, normed);
      b.self_attn.forward(backend, normed, table_, batch, n, first_position,
                          cache == nullptr ? nullptr : &cache->layers[i], some(w.q), some(w.k), some(w.v),
                          some(w.attended), normed);
      add_to_x();
      b.post_attention_layernorm.forward(backend, x, normed);
      b.mlp.forward(backend, normed, some(w.gate), some(w.up), normed);
      add_to_x();
    }
  }

  /// Runs the blocks over new tokens of the cache's sequences, which are appended to it; the result is left in x.
  Workspace extend(const CpuBackend& backend, KvCache& cache, View<const std::int32_t, 1> tokens) {
    const index_t batch = cache.batch, n = check_tokens(tokens, batch);
    QAT_CHECK(cache.length + n <= cache.capacity, kInvalidArgument, "Transformer::decode: ", cache.length, " + ", n,
              " tokens exceed the cache of ", cache.capacity);
    QAT_CHECK(!config_.learned_positions || cache.length + n <= config_.max_seq_len, kInvalidArgument,
              "Transformer::decode: ", cache.length, " + ", n, " tokens, the model has positions for ",
              config_.max_seq_len);
    ensure_positions(cache.length + n);
    Workspace w(config_, batch * n);
    run_blocks(backend, w, tokens, batch, n, cache.length, &cache);
    cache.length += n;
    return w;
  }

  /// Calls f(first row, normalized hidden rows) over all rows, at most kHeadRows at a time.
  template <class F>
  void for_each_hidden(const CpuBackend& backend, View<const std::int32_t, 1> tokens, index_t batch, const F& f) {
    const index_t n = tokens.shape[0] / batch;
    ensure_positions(n);
    index_t sequences = kBodyRows / n > 1 ? kBodyRows / n : 1;
    if (sequences > batch) sequences = batch;
    Workspace w(config_, sequences * n);
    for (index_t begin = 0; begin < batch; begin += sequences) {
      const index_t count = batch - begin < sequences ? batch - begin : sequences, rows = count * n;
      run_blocks(backend, w, tokens.slice(0, begin * n, rows), count, n, 0, nullptr);
      const View<float, 2> x = w.x.view<2>().slice(0, 0, rows);
      norm_.forward(backend, x, x);
      for (index_t row = 0; row < rows; row += kHeadRows)
        f(begin * n + row, View<const float, 2>(x.slice(0, row, rows - row < kHeadRows ? rows - row : kHeadRows)));
    }
  }

  LlamaConfig config_;
  Embedding embed_tokens_;
  std::unique_ptr<Parameter> embed_positions_;
  std::vector<Block> blocks_;
  Norm norm_;
  Linear lm_head_;
  ops::RopeTable table_;
  std::shared_ptr<ScoringDevice> scoring_device_;
};

}  // namespace qat::inline v0::nn
