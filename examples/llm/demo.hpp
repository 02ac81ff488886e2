// The main job: full precision, post-training quantization and quantization-aware training side by side, on the packed
// path.
#pragma once

#include <algorithm>

#include "duration_text.hpp"
#include "run_files.hpp"
#include "train_run.hpp"

namespace qat_llm {

struct DemoOptions {
  int seeds = 1;        ///< runs with seeds seed, seed + 1, ...; the first one is kept in the run's directory
  bool control = true;  ///< also train in floating point on the same batches
  bool report = false;  ///< print every layer with its scheme and bytes
};

/// One row of the table.
struct DemoRow {
  std::string name;
  recipe::Evaluation evaluation;
  double deviation = 0.0;      ///< of nats per token over seeds
  index_t bytes = 0;           ///< of all weights, resident
  double train_seconds = 0.0;  ///< a run
};

namespace detail {
/// How far the logits of two models are apart on the first tokens of the data.
inline double largest_logit_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double largest = 0.0;
  for (index_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return largest;
}

inline double train_once(const CpuBackend& backend, nn::Transformer& model, const RecipeRun& run,
                         const recipe::TrainConfig& config, const std::string& label) {
  Progress progress(label);
  double seconds = 0.0;
  recipe::Trainer trainer(backend, model, run.data().batches(config.seed), config, run.training_device(model, config));
  while (!trainer.done()) {
    const recipe::StepReport s = trainer.step();
    seconds += s.seconds;
    const double left = seconds / static_cast<double>(s.step + 1) * static_cast<double>(config.steps - s.step - 1);
    progress.show(s.step + 1, config.steps,
                  std::string("loss ") + concat(s.loss).c_str() + ", " + duration_text(left) + " left");
  }
  trainer.finish();
  return seconds;
}

/// The same in the run's directory, in place of whatever run it holds.
inline double train_kept(const CpuBackend& backend, nn::Transformer& model, const RecipeRun& run,
                         const recipe::TrainConfig& config, const recipe::Report& layers) {
  constexpr recipe::ExistingRun kExisting = recipe::ExistingRun::kOverwrite;
  double seconds = 0.0;
  train_in_directory(
      backend, model, run, config, run_options(run, kExisting, schemes_of(layers)),
      [&] { begin_run_files(run, kExisting); }, [&](const recipe::StepReport& s) { seconds += s.seconds; });
  return seconds;
}

/// Mean and standard deviation of nats per token; the other members are the first run's.
inline void summarize(DemoRow& row, const std::vector<recipe::Evaluation>& runs) {
  row.evaluation = runs.front();
  double mean = 0.0, square = 0.0;
  for (const recipe::Evaluation& e : runs) mean += e.nats_per_token() / static_cast<double>(runs.size());
  for (const recipe::Evaluation& e : runs) square += (e.nats_per_token() - mean) * (e.nats_per_token() - mean);
  row.evaluation.nats = mean * static_cast<double>(row.evaluation.targets);
  row.deviation = runs.size() > 1 ? std::sqrt(square / static_cast<double>(runs.size() - 1)) : 0.0;
}
}  // namespace detail

inline void print_table(const std::vector<DemoRow>& rows, double bytes_per_token) {
  std::printf("\n%-34s %15s %10s %9s %9s %11s %9s %9s\n", "", "nats/token", "gap", "perplex.", "bits/byte", "weights",
              "train s", "eval s");
  const double full = rows.front().evaluation.nats_per_token();
  for (const DemoRow& r : rows) {
    const double nats = r.evaluation.nats_per_token();
    char spread[16] = "";
    if (r.deviation > 0.0) std::snprintf(spread, sizeof spread, "+-%.4f", r.deviation);
    std::printf("%-34s %8.4f%-7s %+10.4f %9.3f %9.4f %10.1fK %9.1f %9.2f\n", r.name.c_str(), nats, spread, nats - full,
                r.evaluation.perplexity(), r.evaluation.bits_per_byte(bytes_per_token),
                static_cast<double>(r.bytes) / 1024.0, r.train_seconds, r.evaluation.seconds);
  }
}

/// Runs everything and returns what ./dev demo --json writes.
inline OrderedJson run_demo(const RecipeRun& run, const DemoOptions& o) {
  const CpuBackend backend = run.backend();
  const recipe::TrainConfig train = recipe::train_config(run.recipe());
  const EvaluationData& data = run.data().validation_text();
  const double bytes_per_token = data.bytes_per_token();
  std::vector<DemoRow> rows;
  const auto evaluated = [&](nn::Transformer& model) {
    run.device().score_on(model);
    const recipe::Evaluation evaluation = run.data().score(backend, model);
    model.set_scoring_device(nullptr);
    return evaluation;
  };
  recipe::Report report;
  {
    nn::Transformer model = run.checkpoint().model();
    report = recipe::prepare(model, {});
    rows.push_back({"full precision", evaluated(model), 0.0, recipe::bytes_before(report), 0.0});
    std::printf("model   %s: %td parameters, %td layers, width %td, vocabulary %td\n", run.checkpoint().path().c_str(),
                recipe::bytes_before(report) / 4, model.config().n_layers, model.config().dim,
                model.config().vocab_size);
  }
  {
    nn::Transformer model = run.checkpoint().model();
    report = recipe::quantize(backend, model, run.layer_rules(model));
    rows.push_back({"PTQ, packed", evaluated(model), 0.0, recipe::bytes_after(report), 0.0});
  }
  const std::string schemes = schemes_of(report);
  std::printf("data    %s: %td documents, %td targets scored, %.2f bytes a token\n",
              run.data().validation_name().c_str(), data.stream.documents, rows.front().evaluation.targets,
              bytes_per_token);
  std::printf("scheme  %s\n", schemes.c_str());
  std::printf("train   %td steps of %td x %td tokens, AdamW, peak rate %g, %d seed%s\n", train.steps, train.batch,
              train.length, train.lr, o.seeds, o.seeds == 1 ? "" : "s");
  std::fflush(stdout);
  std::vector<recipe::Evaluation> control_runs, prepared_runs, packed_runs;
  double control_seconds = 0.0, qat_seconds = 0.0, logit_difference = 0.0;
  for (int i = 0; i < o.seeds; ++i) {
    recipe::TrainConfig config = train;
    config.seed += static_cast<std::uint64_t>(i);
    const std::string suffix = o.seeds > 1 ? " (seed " + std::to_string(config.seed) + ")" : "";
    if (o.control) {
      nn::Transformer model = run.checkpoint().model();
      control_seconds += detail::train_once(backend, model, run, config, "full-precision control" + suffix);
      control_runs.push_back(evaluated(model));
    }
    auto [model, layers] = run.prepared_model();
    qat_seconds += i == 0 ? detail::train_kept(backend, model, run, config, layers)
                          : detail::train_once(backend, model, run, config, "quantization-aware training" + suffix);
    if (i == 0) save_run_model(run, model);
    prepared_runs.push_back(evaluated(model));
    const View<const std::int32_t, 1> first = view(data.stream.tokens.data(), std::min<index_t>(data.length, 128));
    const Tensor<float> before = model.forward(backend, first, 1);
    report = recipe::convert(backend, model, run.device().packer().get());
    if (i == 0) save_run_packed(run, model);
    packed_runs.push_back(evaluated(model));
    logit_difference =
        std::max(logit_difference, detail::largest_logit_difference(before, model.forward(backend, first, 1)));
  }
  if (o.control) {
    rows.push_back(
        {"full-precision control, trained", {}, 0.0, recipe::bytes_before(report), control_seconds / o.seeds});
    detail::summarize(rows.back(), control_runs);
  }
  rows.push_back({"QAT, fake-quantized (training)", {}, 0.0, recipe::bytes_before(report), qat_seconds / o.seeds});
  detail::summarize(rows.back(), prepared_runs);
  rows.push_back({"QAT, packed (deployed)", {}, 0.0, recipe::bytes_after(report), qat_seconds / o.seeds});
  detail::summarize(rows.back(), packed_runs);

  if (o.report) print_report(report);
  print_table(rows, bytes_per_token);
  const double full = rows.front().evaluation.nats_per_token(), ptq = rows[1].evaluation.nats_per_token(),
               qat = rows.back().evaluation.nats_per_token();
  if (ptq > full)
    std::printf(
        "\nQAT takes back %.0f %% of what PTQ lost: the gap to full precision goes from %.4f to %.4f nats a token.\n",
        100.0 * (ptq - qat) / (ptq - full), ptq - full, qat - full);
  double nll_difference = 0.0;
  for (std::size_t i = 0; i < packed_runs.size(); ++i)
    nll_difference =
        std::max(nll_difference, std::abs(packed_runs[i].nats_per_token() - prepared_runs[i].nats_per_token()));
  std::printf("Fake-quantized and packed model: mean NLL differs by %g, largest logit difference %g%s.\n",
              nll_difference, logit_difference,
              logit_difference == 0.0 && nll_difference == 0.0 ? " (the same bits)" : "");

  OrderedJson json = {{"model", run.checkpoint().path()},
                      {"data", run.data().validation_name()},
                      {"scheme", schemes},
                      {"steps", train.steps},
                      {"lr", train.lr},
                      {"seeds", o.seeds},
                      {"threads", backend.threads()},
                      {"bytes_per_token", bytes_per_token},
                      {"mean_nll_difference", nll_difference},
                      {"largest_logit_difference", logit_difference},
                      {"run", run.recipe().output_dir},
                      {"rows", OrderedJson::array()},
                      {"report", to_json(report)}};
  for (const DemoRow& r : rows) {
    OrderedJson row = to_json(r.evaluation, data);
    row.update(
        {{"name", r.name}, {"deviation", r.deviation}, {"weight_bytes", r.bytes}, {"train_seconds", r.train_seconds}});
    json["rows"].push_back(row);
  }
  return json;
}

}  // namespace qat_llm
