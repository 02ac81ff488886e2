// nn/: the transformer's three forward passes agree, and its gradients are right.
#include "support/architectures.hpp"
#include "support/files.hpp"
#include "support/op_test.hpp"

#include "qat/nn/transformer.hpp"
#include "qat/optim/adamw.hpp"
#include "qat/tensor/memory.hpp"

using namespace qat;
using namespace qat::test;

namespace {

LlamaConfig small_config(bool tied = true) {
  LlamaConfig c;
  c.dim = 12;
  c.hidden_dim = 20;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 6;  // 24 query features out of 12
  c.vocab_size = 23;
  c.max_seq_len = 64;
  c.tied = tied;
  return c;
}

/// Random weights; norms and biases away from one and zero, so that leaving one out shows.
nn::Transformer random_model(const LlamaConfig& config) {
  nn::Transformer model(config);
  model.randomize(5, 0.3f);
  CounterRandom random(9);
  for (Parameter* p : model.parameters())
    if (p->value.rank() == 1)
      for (float& w : p->value) w = 0.5f + random.next_float();
  return model;
}
nn::Transformer small_model(bool tied = true) { return random_model(small_config(tied)); }

/// The float product; counts how often the weight is brought up to date.
struct CountedRefreshes : nn::LinearQuantization {
  int refreshes = 0, products = 0;
  std::optional<QuantSpec> activation() const override { return {}; }
  void refresh(const CpuBackend&, nn::Linear&) override { ++refreshes; }
  void forward(const CpuBackend& backend, nn::Linear& layer, View<const float, 2> x, const QuantizedActivation*,
               View<float, 2> y) override {
    ++products;
    ops::linear(backend, x, std::as_const(layer.weight().value).view<2>(), nullptr, y);
  }
};

}  // namespace

TEST_CASE("transformer: tape, evaluation and decoding give the same logits, bit for bit, on every target") {
  const CpuBackend backend(2);
  for (const NamedConfig& named : architectures(small_config()))
    for (const Target target : supported_targets()) {
      CAPTURE(named.name);
      const LlamaConfig& config = named.config;
      const ScopedTarget forced(target);
      nn::Transformer model = random_model(config);
      const index_t batch = 2, length = 19;
      const Tensor<std::int32_t> tokens = random_tokens(batch * length, 23, 1);
      Tape tape(backend);
      const Tensor<float>& on_tape = tape.value(model.forward(tape, tokens.flat(), batch));
      const Tensor<float> logits = model.forward(backend, tokens.flat(), batch);
      CHECK(compare_bits(on_tape, logits));
      // Prefill of 7 tokens, then 3, then one at a time.
      nn::KvCache cache(model.config(), batch, length);
      for (index_t done = 0; done < length;) {
        const index_t n = done == 0 ? 7 : done == 7 ? 3 : 1;
        Tensor<std::int32_t> next({batch * n});
        for (index_t b = 0; b < batch; ++b)
          for (index_t i = 0; i < n; ++i) next[b * n + i] = tokens[b * length + done + i];
        const Tensor<float> last = model.decode(backend, cache, std::as_const(next).flat());
        done += n;
        for (index_t b = 0; b < batch; ++b)
          CHECK(compare_bits(Values<float>(logits.data() + (b * length + done - 1) * 23, {23}),
                             Values<float>(last.data() + b * 23, {23})));
      }
      CHECK(cache.length == length);
    }
}

TEST_CASE("transformer: evaluate is the loss on the tape; its memory does not grow with the batch") {
  const CpuBackend backend(2);
  nn::Transformer model = small_model();
  const Tensor<std::int32_t> tokens = random_tokens(600 * 16, 23, 1);
  Tensor<std::int32_t> targets = random_tokens(600 * 16, 23, 2);
  for (index_t i = 0; i < targets.size(); i += 5) targets[i] = ops::kIgnoreIndex;
  Tape tape(backend);
  const Variable loss = model.loss(tape, tokens.flat(), std::as_const(targets).flat(), 600);
  Tensor<float> losses({600 * 16});
  const auto result = model.evaluate(backend, tokens.flat(), std::as_const(targets).flat(), 600, losses.flat());
  CHECK(result.targets == 600 * 16 * 4 / 5);
  CHECK(result.mean() == tape.value(loss)[0]);
  CHECK(losses[0] == 0.0f);
  CHECK(losses[1] > 0.0f);
  tape.clear();
  index_t peak[2];
  for (int i = 0; i < 2; ++i) {
    const index_t batch = i == 0 ? 128 : 600, before = memory_stats().current_bytes;
    reset_peak();
    model.evaluate(backend, tokens.flat().slice(0, 0, batch * 16),
                   std::as_const(targets).flat().slice(0, 0, batch * 16), batch);
    peak[i] = memory_stats().peak_bytes - before;
  }
  CHECK(peak[0] == peak[1]);
}

TEST_CASE("transformer: the head's weight is brought up to date once a pass, however many rows it multiplies") {
  const CpuBackend backend(2);
  nn::Transformer model = small_model(false);
  const Tensor<std::int32_t> tokens = random_tokens(600 * 16, 23, 1);
  const Tensor<float> logits = model.forward(backend, tokens.flat(), 600);
  auto own = std::make_unique<CountedRefreshes>();
  CountedRefreshes& counted = *own;
  model.lm_head().set_quantization(std::move(own));
  CHECK(compare_bits(logits, model.forward(backend, tokens.flat(), 600)));
  CHECK(counted.refreshes == 1);
  CHECK(counted.products > 30);
  model.evaluate(backend, tokens.flat(), tokens.flat(), 600);
  CHECK(counted.refreshes == 2);
  Tensor<float> y({1, 23});
  model.lm_head().forward(backend, logits.view<2>().slice(0, 0, 1).slice(1, 0, 12), y.view<2>());
  CHECK(counted.refreshes == 3);
}

TEST_CASE("transformer: gradients of every parameter of every architecture are those of finite differences") {
  const CpuBackend backend(2);
  for (const NamedConfig& named : architectures(small_config())) {
    CAPTURE(named.name);
    const LlamaConfig& config = named.config;
    nn::Transformer model = random_model(config);
    const Tensor<std::int32_t> tokens = random_tokens(2 * 9, 23, 1);
    Tensor<std::int32_t> targets = random_tokens(2 * 9, 23, 2);
    targets[3] = ops::kIgnoreIndex;
    Tape tape(backend);
    zero_grad(model.parameters());
    tape.backward(model.loss(tape, tokens.flat(), std::as_const(targets).flat(), 2));
    const auto loss = [&] {
      const auto r = model.evaluate(backend, tokens.flat(), std::as_const(targets).flat(), 2);
      return r.sum / static_cast<double>(r.targets);
    };
    for (Parameter* p : model.parameters()) {
      // Along the gradient itself the slope is its norm: one number per tensor that every element enters.
      double squares = 0.0;
      for (const float g : p->grad) squares += double{g} * double{g};
      const double length = std::sqrt(squares);
      REQUIRE(length > 0.0);
      const Tensor<float> start = p->value.clone();
      const auto at = [&](double step) {
        for (index_t i = 0; i < start.size(); ++i)
          p->value[i] = static_cast<float>(double{start[i]} + step * double{p->grad[i]} / length);
        return loss();
      };
      const double h = 0.005, near_slope = (at(h) - at(-h)) / (2 * h), far_slope = (at(2 * h) - at(-2 * h)) / (4 * h);
      p->value = start.clone();
      CAPTURE(p->name);
      CHECK((4.0 * near_slope - far_slope) / 3.0 == doctest::Approx(length).epsilon(2e-3));
    }
  }
}

TEST_CASE("transformer: packed sequences have the bits, forward and backward, that each has alone") {
  const CpuBackend backend(2);
  for (const NamedConfig& named : architectures(small_config())) {
    CAPTURE(named.name);
    LlamaConfig config = named.config;
    config.tied = false;
    nn::Transformer model = random_model(config);
    // Each has tokens of its own, and as many targets as a power of two: means then differ by powers of two.
    const index_t lengths[] = {4, 4, 1, 8, 8, 2, 4, 1};
    ops::Sequences packed;
    std::vector<std::int32_t> tokens, targets;
    for (index_t i = 0; i < 8; ++i) {
      packed.add(lengths[i]);
      for (index_t t = 0; t < lengths[i]; ++t) {
        tokens.push_back(static_cast<std::int32_t>(2 * i + t % 2));
        targets.push_back(static_cast<std::int32_t>((5 * i + t) % 23));
      }
    }
    const auto part = [](const std::vector<std::int32_t>& all, index_t begin, index_t count) {
      return view(all.data() + begin, count);
    };
    REQUIRE(packed.rows() == 32);
    zero_grad(model.parameters());
    Tape tape(backend);
    ops::CrossEntropyResult stats;
    const Tensor<float> hidden = tape.value(model.hidden(tape, part(tokens, 0, 32), packed)).clone();
    tape.backward(model.loss(tape, part(tokens, 0, 32), part(targets, 0, 32), packed, &stats));
    CHECK(stats.targets == 32);
    const Tensor<float> together = model.embed_tokens().weight().grad.clone();
    const index_t width = model.config().dim;
    for (index_t i = 0, begin = 0; i < 8; begin += lengths[i++]) {
      CAPTURE(i);
      zero_grad(model.parameters());
      Tape alone(backend);
      const Tensor<float>& rows = alone.value(model.hidden(alone, part(tokens, begin, lengths[i]), 1));
      CHECK(std::memcmp(rows.data(), hidden.data() + begin * width, static_cast<std::size_t>(rows.size_bytes())) == 0);
      const Variable loss = model.loss(alone, part(tokens, begin, lengths[i]), part(targets, begin, lengths[i]), 1);
      alone.backward(loss, static_cast<float>(lengths[i]) / 32.0f);
      const Tensor<float>& grad = model.embed_tokens().weight().grad;
      const index_t first = 2 * i * width, count = (lengths[i] > 1 ? 2 : 1) * width;
      CHECK(std::memcmp(grad.data() + first, together.data() + first,
                        static_cast<std::size_t>(count) * sizeof(float)) == 0);
    }
  }
  nn::Transformer model = small_model();
  const Tensor<std::int32_t> tokens = random_tokens(32, 23, 1);
  const auto part = [&](const Tensor<std::int32_t>& all, index_t begin, index_t count) {
    return all.flat().slice(0, begin, count);
  };
  ops::Sequences packed;
  packed.add(32);
  Tape refused(backend);
  QAT_CHECK_ERROR(model.hidden(refused, part(tokens, 0, 31), packed), "31 tokens for sequences of 32");
  QAT_CHECK_ERROR(model.hidden(refused, part(tokens, 0, 32), ops::Sequences(1, model.config().max_seq_len + 1)),
                  "32 tokens for sequences of");
}

TEST_CASE("transformer: 1, 2, 3 and 7 threads give the same weights after training steps") {
  for (const NamedConfig& named : architectures(small_config())) {
    CAPTURE(named.name);
    const LlamaConfig& config = named.config;
    std::vector<Tensor<float>> reference;
    for (const int threads : {1, 2, 3, 7}) {
      CAPTURE(threads);
      const CpuBackend backend(threads);
      nn::Transformer model = random_model(config);
      AdamW optimizer(model.parameters());
      for (std::uint64_t step = 0; step < 5; ++step) {
        const Tensor<std::int32_t> tokens = random_tokens(3 * 40, 23, step),
                                   targets = random_tokens(3 * 40, 23, 50 + step);
        zero_grad(model.parameters());
        Tape tape(backend);
        tape.backward(model.loss(tape, tokens.flat(), targets.flat(), 3));
        optimizer.step(backend);
      }
      std::size_t i = 0;
      for (const Parameter* p : model.parameters()) {
        if (threads == 1)
          reference.push_back(p->value.clone());
        else
          CHECK(compare_bits(reference[i++], p->value));
      }
    }
  }
}

TEST_CASE("transformer: the tape's gradients equal those of the loop written out by hand, bit for bit") {
  const CpuBackend backend(2);
  LlamaConfig config = small_config(false);
  config.n_layers = 1;
  nn::Transformer model(config);
  model.randomize(3, 0.3f);
  const index_t batch = 2, length = 11, rows = batch * length;
  const Tensor<std::int32_t> tokens = random_tokens(rows, 23, 1), targets = random_tokens(rows, 23, 2);
  zero_grad(model.parameters());
  Tape tape(backend);
  tape.backward(model.loss(tape, tokens.flat(), targets.flat(), batch));

  std::map<std::string, Tensor<float>> w = model.tensors(), g;
  for (const auto& [name, value] : w) g.emplace(name, Tensor<float>(value.shape()));
  const auto weight = [&](const std::string& name) -> const Tensor<float>& { return w.at(name); };
  const std::string layer = "model.layers.0.";
  const auto make = [](index_t r, index_t c) { return Tensor<float>({r, c}); };
  const auto in = [](const Tensor<float>& t) { return t.matrix(); };
  const auto project = [&](const Tensor<float>& x, const std::string& name) {
    Tensor<float> y = make(x.dim(0), weight(name).dim(0));
    ops::linear(backend, in(x), in(weight(name)), nullptr, y.matrix());
    return y;
  };
  const auto project_back = [&](const Tensor<float>& x, const Tensor<float>& dy, const std::string& name,
                                Tensor<float>& dx, GradMode mode) {
    ops::linear_backward(backend, in(x), in(weight(name)), in(dy), dx.matrix(), mode, g.at(name).matrix(),
                         GradMode::kAccumulate);
  };
  const auto normalize = [&](const Tensor<float>& x, const std::string& name, ops::RmsNormSaved& saved) {
    Tensor<float> y = make(rows, 12);
    ops::rmsnorm(backend, in(x), weight(name).flat(), config.norm_eps, y.matrix(), &saved);
    return y;
  };
  const auto normalize_back = [&](const Tensor<float>& x, const std::string& name, const ops::RmsNormSaved& saved,
                                  const Tensor<float>& dy, Tensor<float>& dx, GradMode mode) {
    ops::rmsnorm_backward(backend, in(x), weight(name).flat(), saved, in(dy), dx.matrix(), mode, g.at(name).flat(),
                          GradMode::kAccumulate);
  };
  const auto q4 = [&](auto& t) { return view(t.data(), batch, length, index_t{4}, index_t{6}); };
  const auto kv4 = [&](auto& t) { return view(t.data(), batch, length, index_t{2}, index_t{6}); };
  const ops::RopeTable table = ops::rope_table(config.rope, 6, length);
  const auto turn = [&](auto v, bool back) {
    (back ? ops::rope_backward : ops::rope)(backend, v, table.cosine.view<2>(), table.sine.view<2>(), 0,
                                            RopePairing::kHalf, v);
  };

  // Forward.
  Tensor<float> x0 = make(rows, 12);
  ops::embedding(backend, in(weight("model.embed_tokens.weight")), tokens.flat(), x0.matrix());
  ops::RmsNormSaved saved1, saved2, saved3;
  const Tensor<float> n1 = normalize(x0, layer + "input_layernorm.weight", saved1);
  Tensor<float> q = project(n1, layer + "self_attn.q_proj.weight"), k = project(n1, layer + "self_attn.k_proj.weight");
  const Tensor<float> v = project(n1, layer + "self_attn.v_proj.weight");
  turn(q4(q), false);
  turn(kv4(k), false);
  Tensor<float> attended = make(rows, 24);
  ops::AttentionSaved attention_saved;
  ops::attention(backend, q4(q), kv4(k), kv4(v), q4(attended), &attention_saved);
  Tensor<float> x1 = project(attended, layer + "self_attn.o_proj.weight");
  ops::add(backend, std::as_const(x0).flat(), std::as_const(x1).flat(), x1.flat());
  const Tensor<float> n2 = normalize(x1, layer + "post_attention_layernorm.weight", saved2);
  const Tensor<float> gate = project(n2, layer + "mlp.gate_proj.weight"),
                      up = project(n2, layer + "mlp.up_proj.weight");
  Tensor<float> product = make(rows, 20);
  ops::swiglu(backend, gate.flat(), up.flat(), product.flat());
  Tensor<float> x2 = project(product, layer + "mlp.down_proj.weight");
  ops::add(backend, std::as_const(x1).flat(), std::as_const(x2).flat(), x2.flat());
  const Tensor<float> n3 = normalize(x2, "model.norm.weight", saved3);
  const Tensor<float> logits = project(n3, "lm_head.weight");

  // Backward.
  Tensor<float> dlogits = make(rows, 23), dn = make(rows, 12), dx = make(rows, 12);
  ops::softmax_cross_entropy_backward(backend, in(logits), targets.flat(), 1.0f, dlogits.matrix());
  project_back(n3, dlogits, "lm_head.weight", dn, GradMode::kOverwrite);
  normalize_back(x2, "model.norm.weight", saved3, dn, dx, GradMode::kOverwrite);
  Tensor<float> dproduct = make(rows, 20), dgate = make(rows, 20), dup = make(rows, 20);
  project_back(product, dx, layer + "mlp.down_proj.weight", dproduct, GradMode::kOverwrite);
  ops::swiglu_backward(backend, gate.flat(), up.flat(), std::as_const(dproduct).flat(), dgate.flat(),
                       GradMode::kOverwrite, dup.flat(), GradMode::kOverwrite);
  project_back(n2, dup, layer + "mlp.up_proj.weight", dn, GradMode::kOverwrite);
  project_back(n2, dgate, layer + "mlp.gate_proj.weight", dn, GradMode::kAccumulate);
  normalize_back(x1, layer + "post_attention_layernorm.weight", saved2, dn, dx, GradMode::kAccumulate);
  Tensor<float> dattended = make(rows, 24), dq = make(rows, 24), dk = make(rows, 12), dv = make(rows, 12);
  project_back(attended, dx, layer + "self_attn.o_proj.weight", dattended, GradMode::kOverwrite);
  ops::attention_backward(backend, q4(q), kv4(k), kv4(v), q4(attended), attention_saved, q4(dattended), q4(dq), kv4(dk),
                          kv4(dv));
  turn(kv4(dk), true);
  turn(q4(dq), true);
  project_back(n1, dv, layer + "self_attn.v_proj.weight", dn, GradMode::kOverwrite);
  project_back(n1, dk, layer + "self_attn.k_proj.weight", dn, GradMode::kAccumulate);
  project_back(n1, dq, layer + "self_attn.q_proj.weight", dn, GradMode::kAccumulate);
  normalize_back(x0, layer + "input_layernorm.weight", saved1, dn, dx, GradMode::kAccumulate);
  ops::embedding_backward(backend, tokens.flat(), in(dx), g.at("model.embed_tokens.weight").matrix(),
                          GradMode::kAccumulate);

  for (const Parameter* p : model.parameters()) {
    CAPTURE(p->name);
    CHECK(compare_bits(p->grad, g.at(p->name)));
  }
}

TEST_CASE("transformer: tensors go out and come back; a wrong set is refused and changes nothing") {
  const CpuBackend backend(1);
  nn::Transformer model = small_model(), other(small_config());
  const Tensor<std::int32_t> tokens = random_tokens(10, 23, 1);
  other.load(model.tensors());
  CHECK(compare_bits(model.forward(backend, tokens.flat(), 1), other.forward(backend, tokens.flat(), 1)));

  auto missing = model.tensors();
  missing.erase("model.layers.1.mlp.up_proj.weight");
  CHECK_THROWS_WITH_AS(other.load(std::move(missing)),
                       "Transformer::load: tensor 'model.layers.1.mlp.up_proj.weight' is missing", Error);
  auto surplus = model.tensors();
  surplus.emplace("model.layers.2.mlp.up_proj.weight", Tensor<float>({2}));
  CHECK_THROWS_AS(other.load(std::move(surplus)), Error);
  auto shape = model.tensors();
  shape.at("model.norm.weight") = Tensor<float>({13});
  CHECK_THROWS_WITH_AS(other.load(std::move(shape)),
                       "Transformer::load: tensor 'model.norm.weight' has shape (13), must be (12)", Error);
  CHECK(compare_bits(model.forward(backend, tokens.flat(), 1), other.forward(backend, tokens.flat(), 1)));
}

TEST_CASE("transformer: parameters have Hugging Face names, a tied head none of its own") {
  nn::Transformer tied(small_config(true)), untied(small_config(false));
  CHECK(tied.parameters().size() == 2 + 2 * 9);
  CHECK(untied.parameters().size() == 3 + 2 * 9);
  CHECK(tied.parameters().front()->name == "model.embed_tokens.weight");
  CHECK(tied.parameters()[3]->name == "model.layers.0.self_attn.k_proj.weight");
  CHECK(untied.parameters().back()->name == "lm_head.weight");
  CHECK(tied.linear_layers().size() == 2 * 7 + 1);
}

TEST_CASE("transformer: bad input ends in one line that names it") {
  const CpuBackend backend(1);
  nn::Transformer model = small_model();
  Tensor<std::int32_t> tokens({6});
  tokens[4] = 23;
  CHECK_THROWS_WITH_AS(model.forward(backend, std::as_const(tokens).flat(), 2),
                       "model.embed_tokens: token 23 at position 4, must be in [0, 23)", Error);
  CHECK_THROWS_WITH_AS(model.forward(backend, std::as_const(tokens).flat(), 4),
                       "Transformer: 6 tokens do not make 4 sequences", Error);
  const Tensor<std::int32_t> long_tokens = random_tokens(65, 23, 1);
  CHECK_THROWS_WITH_AS(model.forward(backend, long_tokens.flat(), 1),
                       "Transformer: sequences of 65 tokens, the model takes at most 64", Error);
  nn::KvCache cache(model.config(), 1, 3);
  CHECK_THROWS_WITH_AS(model.decode(backend, cache, long_tokens.flat().slice(0, 0, 4)),
                       "Transformer::decode: 0 + 4 tokens exceed the cache of 3", Error);
  nn::Transformer learned(with_architecture(small_config(), Architecture::kGpt2));
  nn::KvCache longer(learned.config(), 1, 70);
  learned.decode(backend, longer, long_tokens.flat().slice(0, 0, 60));
  QAT_CHECK_ERROR(learned.decode(backend, longer, long_tokens.flat().slice(0, 0, 5)), "60 + 5", "positions for 64");
  LlamaConfig config = small_config();
  config.window = -1;
  QAT_CHECK_ERROR(nn::Transformer{config}, "window is -1");
  config = small_config();
  config.n_kv_heads = 3;
  CHECK_THROWS_WITH_AS(nn::Transformer{config}, "Transformer: n_heads is 4, must be a multiple of n_kv_heads, 3",
                       Error);
}
