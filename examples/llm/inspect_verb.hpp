// qat-llm inspect: a model layer by layer: schemes, bytes, scales, codes, quantization error.
#pragma once

#include "options.hpp"
#include "qat/recipe/layer_statistics.hpp"

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
    CLI::App* verb = app.add_subcommand("inspect", "layers of a model: schemes, bytes, scales, codes, error");
    model.add_to(verb, true);
    scheme.add_to(verb, "quantize a floating-point model with this scheme first; the SQNR compares with it");
    verb->footer(
        "Columns: bits per weight with scales and zero points; |scale| and its histogram by octave, smallest first; "
        "the\n"
        "codes' histogram; SQNR in dB of the weights against those before quantization.\n"
        "Examples:\n"
        "  qat-llm inspect --model packed\n"
        "  qat-llm inspect --model stories260K.bin --scheme qat4 --json layers.json");
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    std::map<std::string, Tensor<float>> originals;
    if (!scheme.scheme.empty() && !checkpoint.is_packed()) originals = network.tensors();
    quantize_if_asked(backend, checkpoint, network, scheme);
    const std::vector<recipe::LayerStatistics> layers = recipe::layer_statistics(network, originals);
    index_t bytes = 0;
    std::printf("%-40s %14s %10s %6s %7s  %s\n", "layer", "shape", "bytes", "bits", "SQNR", "scheme");
    OrderedJson json = {{"model", model.model}, {"layers", OrderedJson::array()}};
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
    write_json(model.json, json);
  }
};

}  // namespace qat_llm
