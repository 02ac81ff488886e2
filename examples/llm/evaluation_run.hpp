// The evaluation table: models as deployment loads and runs them, on data sets, side by side.
#pragma once

#include <sys/stat.h>

#include <set>

#include "evaluation_print.hpp"
#include "qat/io/directory.hpp"
#include "qat/recipe/dataset_scores.hpp"
#include "qat/recipe/generate.hpp"
#include "qat/recipe/generation_speed.hpp"
#include "qat/recipe/machine.hpp"
#include "qat/recipe/recipe_yaml.hpp"
#include "qat/version.hpp"
#include "resident_memory.hpp"
#include "run_device.hpp"

namespace qat_llm {

/// A temporary directory, gone with everything in it.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    const char* const base = std::getenv("TMPDIR");
    path_ = join_path(base != nullptr && *base != '\0' ? base : "/tmp", "qat-llm-XXXXXX");
    if (::mkdtemp(path_.data()) == nullptr)
      raise(ErrorCode::kIo, path_, ": cannot create directory: ", std::strerror(errno));
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory() {
    try {
      remove_directory(path_);
    } catch (const Error&) {  // it is in the directory for temporary files
    }
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A model to score: what is loaded, and how the table names it.
struct EvaluationRow {
  std::string name;
  std::string path;    ///< what is loaded
  std::string origin;  ///< the path shown, beside which the tokenizer stands
};

struct EvaluationOptions {
  std::vector<recipe::DatasetSource> datasets;
  recipe::DatasetOptions scoring;
  std::string prompt = "Once upon a time";
  std::string tokenizer;  ///< empty: the one beside each model
  RunDevice device;       ///< of scores; text is generated on the CPU
};

/// Data sets by name or file.   data_directory: empty: $QAT_DATA, else ../shared/data beside the checkout
inline std::vector<recipe::DatasetSource> find_datasets(const std::vector<std::string>& names,
                                                        std::string data_directory) {
  const char* const from_environment = std::getenv("QAT_DATA");
  if (data_directory.empty() && from_environment != nullptr) data_directory = from_environment;
  if (data_directory.empty()) {
    std::string checkout = QAT_DEFAULT_MODEL;  // examples/llm/default of it
    for (int level = 0; level < 3; ++level) checkout = parent_directory(checkout);
    data_directory = join_path(join_path(parent_directory(checkout), "shared"), "data");
  }
  std::vector<recipe::DatasetSource> sources;
  std::set<std::string> seen;
  for (const std::string& name : names) {
    sources.push_back(recipe::find_dataset(name, data_directory));
    QAT_CHECK(seen.insert(sources.back().name).second, kInvalidArgument, "dataset ", sources.back().name,
              ": is given twice; accepted: each name once");
  }
  return sources;
}

namespace detail {

/// Of the files that hold weights: the file, or every safetensors file of a directory.
inline index_t bytes_on_disk(const std::string& path) {
  const auto size_of = [](const std::string& file) {
    struct stat status;
    return ::stat(file.c_str(), &status) == 0 ? static_cast<index_t>(status.st_size) : index_t{0};
  };
  if (!is_directory(path)) return size_of(path);
  index_t bytes = 0;
  for (const std::string& name : list_directory(path))
    if (name.ends_with(".safetensors")) bytes += size_of(join_path(path, name));
  return bytes;
}

/// "float", or the schemes of the packed layers.
inline std::string schemes_of(nn::Transformer& model) {
  std::vector<std::string> names;
  for (const auto& layer : recipe::detail::layers_of(model)) {
    const auto packed = recipe::detail::packed_of(layer);
    if (packed == nullptr) continue;
    LayerScheme scheme{packed->spec(), {}};
    if (layer.linear != nullptr)
      scheme.activation = dynamic_cast<const nn::PackedLinear*>(layer.linear->quantization())->activation();
    names.push_back(recipe::scheme_name(scheme));
  }
  return names.empty() ? "float" : recipe::joined_once(names, " ");
}

/// One model on every data set.
struct ScoredRow {
  recipe::EvaluatedModel model;
  std::vector<recipe::ScoredDataset> datasets;
};

inline ScoredRow score_row(const CpuBackend& backend, const EvaluationRow& row, const EvaluationOptions& options,
                           const std::string& scratch) {
  constexpr index_t kSampleTokens = 80, kPrefillTokens = 128, kDecodeTokens = 64;
  ScoredRow scored;
  recipe::EvaluatedModel& model = scored.model;
  nn::Transformer network = Checkpoint(row.path).model();
  model.resident_bytes = resident_growth(row.path, scratch);
  const LlamaConfig& config = network.config();
  const auto tokenizer = options.tokenizer.empty() ? load_model_tokenizer(row.origin, config.vocab_size)
                                                   : qat::load_tokenizer(options.tokenizer);
  model.name = row.name;
  model.path = row.origin;
  model.scheme = schemes_of(network);
  model.bytes = bytes_on_disk(row.path);
  model.sample =
      recipe::generate(backend, network, *tokenizer, options.prompt, kSampleTokens, {}, [](const std::string&) {}).text;
  options.device.score_on(network);
  const auto start = std::chrono::steady_clock::now();
  for (const recipe::DatasetSource& source : options.datasets) {
    scored.datasets.push_back(recipe::score_dataset(backend, network, *tokenizer, source, options.scoring,
                                                    Progress(row.name + ", " + source.name)));
    const recipe::ScoredDataset& done = scored.datasets.back();
    model.scores.push_back(done.scores);
    std::printf("%s, %s: %td targets, %.1f s, %.0f tokens/s\n", row.name.c_str(), source.name.c_str(),
                done.description.targets, done.seconds, static_cast<double>(done.inputs) / done.seconds);
    std::fflush(stdout);
  }
  model.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::vector<std::int32_t> prompt = tokenizer->encode(options.prompt, true);
  const index_t prefill = std::min(kPrefillTokens, config.max_seq_len / 2);
  for (std::size_t i = 0; std::ssize(prompt) < prefill; ++i) prompt.push_back(prompt[i]);
  prompt.resize(static_cast<std::size_t>(prefill));
  if (prefill > 0) {
    const recipe::GenerationSpeed speed =
        recipe::measure_generation(backend, network, prompt, std::min(kDecodeTokens, config.max_seq_len - prefill));
    model.prefill_tokens_per_second = speed.prefill_tokens_per_second;
    model.decode_tokens_per_second = speed.decode_tokens_per_second;
  }
  return scored;
}

}  // namespace detail

/// Scores the rows one after the other; only one model is in memory at a time. Rows after the first are compared with
/// the first, and "QAT" with "PTQ".
inline recipe::EvaluationTable evaluate_rows(const CpuBackend& backend, const std::vector<EvaluationRow>& rows,
                                             const EvaluationOptions& options) {
  QAT_CHECK(!options.datasets.empty(), kInvalidArgument,
            "eval: nothing to score; give --datasets, --data or --choices");
  const ScratchDirectory scratch;
  recipe::EvaluationTable table;
  table.version = std::to_string(QAT_VERSION_MAJOR) + "." + std::to_string(QAT_VERSION_MINOR) + "." +
                  std::to_string(QAT_VERSION_PATCH);
  table.processor = recipe::processor_name();
  table.target = name(active_target());
  table.compiler = recipe::compiler_name();
  table.threads = backend.threads();
  table.prompt = options.prompt;
  std::vector<detail::ScoredRow> scored;
  for (const EvaluationRow& row : rows) {
    scored.push_back(detail::score_row(backend, row, options, scratch.path()));
    table.models.push_back(scored.back().model);
  }
  for (const recipe::ScoredDataset& d : scored.front().datasets) {
    table.datasets.push_back(d.description);
    if (d.skipped.count > 0)
      std::fprintf(stderr, "qat-llm: left out %td line%s; the first: %s\n", d.skipped.count,
                   d.skipped.count == 1 ? "" : "s", d.skipped.first.c_str());
  }
  const auto compare = [&](const detail::ScoredRow& model, const detail::ScoredRow& baseline) {
    for (std::size_t i = 0; i < model.datasets.size(); ++i)
      for (recipe::PairedDifference& p :
           recipe::paired_differences(model.datasets[i], model.model.name, baseline.datasets[i], baseline.model.name))
        table.paired.push_back(std::move(p));
  };
  for (std::size_t i = 1; i < scored.size(); ++i) {
    compare(scored[i], scored[0]);
    if (scored[i].model.name == "QAT" && scored[i - 1].model.name == "PTQ") compare(scored[i], scored[i - 1]);
  }
  table.degradation = recipe::degradation_of(table);
  return table;
}

/// The float model that a run began with, that model quantized by the run's schemes without training, and what the run
/// has packed; writes RUN/evaluation.json.
/// @throws qat::Error for a directory without recipe.yaml or packed model
inline recipe::EvaluationTable evaluate_run(const CpuBackend& backend, const std::string& run,
                                            const recipe::RecipeFile& file, EvaluationOptions options) {
  const std::string packed = join_path(run, "packed");
  QAT_CHECK(recipe::is_packed_checkpoint(packed), kInvalidArgument, run,
            ": has no packed model; a quantization-aware run writes it after its last step (train --resume goes on)");
  const std::string base = model_path(file.recipe.model.model_name);
  if (options.tokenizer.empty()) options.tokenizer = file.recipe.model.tokenizer;
  const ScratchDirectory scratch;
  const std::string ptq = join_path(scratch.path(), "ptq");
  {
    nn::Transformer model = Checkpoint(base).model();
    recipe::quantize(backend, model, recipe::layer_rules(file.recipe, model, file.places));
    recipe::save_packed(model, ptq);
  }
  const recipe::EvaluationTable table =
      evaluate_rows(backend, {{"full precision", base, base}, {"PTQ", ptq, base}, {"QAT", packed, packed}}, options);
  recipe::write_evaluation(join_path(run, "evaluation.json"), table);
  return table;
}

}  // namespace qat_llm
