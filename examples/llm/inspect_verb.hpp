// qat-llm inspect: what a file or directory holds, its packed layers with scales, codes and quantization error, and
// what is wrong with it.
#pragma once

#include "options.hpp"
#include "qat/recipe/layer_statistics.hpp"
#include "qat/recipe/path_summary.hpp"

namespace qat_llm {

/// Counts as one character each, from ' ' for none to the tallest for the largest.
inline std::string bars(const std::vector<index_t>& counts) {
  static const char* const kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const index_t largest = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  std::string out;
  for (const index_t n : counts) out += kBars[n == 0 ? 0 : 1 + (n * 7 + largest / 2) / largest];
  return out;
}

struct InspectVerb {
  ModelOptions model;
  SchemeOptions scheme;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("inspect", "what a file or directory holds, and what is wrong with it");
    verb->add_option("PATH,--model", model.model,
                     "a model of any format (llama2.c, GGUF, ONNX, safetensors, Hugging Face, compressed-tensors, "
                     "packed), a run, or a tokenizer")
        ->required();
    model.add_common_to(verb);
    scheme.add_to(verb, "quantize a floating-point model with this scheme first; the SQNR compares with it");
    verb->footer(
        "Prints metadata, tensors as they are stored, and for packed layers: bits per weight with scales and zero "
        "points;\n"
        "|scale| and its histogram by octave, smallest first; the codes' histogram; SQNR in dB of the weights against "
        "those\n"
        "before quantization. Checks names, shapes and sizes, that weights and scales are finite and codes in range, "
        "and\n"
        "that the tokenizer fits the embedding; exit code 2 where something is wrong.\n"
        "Examples:\n"
        "  qat-llm inspect model.gguf\n"
        "  qat-llm inspect run/packed\n"
        "  qat-llm inspect stories260K.bin --scheme qat4 --json layers.json");
    verb->callback([this] { run(); });
  }

  void run() {
    FileSummary summary = recipe::summarize_path(model.model);
    print(summary);
    OrderedJson json = to_json(summary);
    const bool is_packed = !quantization_method(model.model).empty() || recipe::is_packed_checkpoint(model.model);
    if (summary.problems.empty() && (is_packed || !scheme.scheme.empty()))
      recipe::detail::add_error(summary, [&] { layers(json); });
    for (const std::string& problem : summary.problems) std::printf("problem: %s\n", problem.c_str());
    if (summary.problems.empty()) std::printf("checked %td values: nothing is wrong\n", summary.values_checked);
    json["problems"] = summary.problems;
    write_json(model.json, json);
    std::fflush(stdout);
    QAT_CHECK(summary.problems.empty(), kBadFile, model.model, ": ", summary.problems.size(), " problem",
              summary.problems.size() == 1 ? "" : "s", ": ", summary.problems.front().c_str());
  }

 private:
  static OrderedJson to_json(const FileSummary& s) {
    OrderedJson json = {{"model", s.path}, {"format", s.format}, {"file_bytes", s.bytes}};
    json["metadata"] = OrderedJson::array();
    for (const auto& [key, value] : s.metadata) json["metadata"].push_back({key, value});
    json["tensors"] = OrderedJson::array();
    for (const StoredTensor& t : s.tensors)
      json["tensors"].push_back({{"name", t.name}, {"type", t.type}, {"shape", t.shape}, {"bytes", t.bytes}});
    json["values_checked"] = s.values_checked;
    json["layers"] = OrderedJson::array();
    return json;
  }

  static void print(const FileSummary& s) {
    std::printf("%s: %s, %llu bytes, %zu tensors\n", s.path.c_str(), s.format.c_str(),
                static_cast<unsigned long long>(s.bytes), s.tensors.size());
    for (const auto& [key, value] : s.metadata) std::printf("  %-38s %s\n", key.c_str(), value.c_str());
    if (s.tensors.empty()) return;
    std::map<std::string, std::pair<index_t, std::uint64_t>> types;
    std::printf("%-48s %-8s %18s %14s\n", "tensor", "type", "shape", "bytes");
    for (const StoredTensor& t : s.tensors) {
      std::printf("%-48s %-8s %18s %14llu\n", t.name.c_str(), t.type.c_str(), qat::shape_text(t.shape).c_str(),
                  static_cast<unsigned long long>(t.bytes));
      ++types[t.type].first;
      types[t.type].second += t.bytes;
    }
    for (const auto& [type, sum] : types)
      std::printf("%-48s %-8s %18td %14llu\n", "in all", type.c_str(), sum.first,
                  static_cast<unsigned long long>(sum.second));
  }

  void layers(OrderedJson& json) {
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    std::map<std::string, Tensor<float>> originals;
    if (!scheme.scheme.empty() && !checkpoint.is_packed()) originals = network.tensors();
    quantize_if_asked(backend, checkpoint, network, scheme);
    const std::vector<recipe::LayerStatistics> layers = recipe::layer_statistics(network, originals);
    index_t bytes = 0;
    std::printf("%-40s %14s %10s %6s %7s  %s\n", "layer", "shape", "bytes", "bits", "SQNR", "scheme");
    for (const recipe::LayerStatistics& s : layers) {
      bytes += s.bytes;
      json["layers"].push_back(recipe::to_json(s));
      char sqnr[16] = "";
      if (s.has_sqnr) std::snprintf(sqnr, sizeof sqnr, "%.2f", s.sqnr_db);
      std::printf("%-40s %14s %10td %6.2f %7s  %s\n", s.name.c_str(), to_string(s.shape).c_str(), s.bytes,
                  s.bits_per_weight, sqnr, s.scheme.c_str());
      if (s.codes.empty()) continue;
      std::printf("    %td scales of %.3g to %.3g, median %.3g  2^%d [%s]  codes [%s], %.1f %% extreme\n",
                  s.scale_count, s.least_scale, s.largest_scale, s.median_scale, s.scales.first,
                  bars(s.scales.counts).c_str(), s.codes.size() <= 32 ? bars(s.codes).c_str() : "...",
                  100.0 * s.extreme_codes);
    }
    std::printf("%-40s %14s %10td\n", "total", "", bytes);
    json["bytes"] = bytes;
  }
};

}  // namespace qat_llm
