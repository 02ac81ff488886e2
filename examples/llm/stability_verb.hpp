// qat-llm stability: do the blocks of a GGUF file come back when somebody else converts and quantizes the weights?
#pragma once

#include "options.hpp"
#include "qat/recipe/gguf_stability.hpp"

namespace qat_llm {

/// Thrown when results are printed and not every block came back.
struct BlocksDiffer {};

struct StabilityVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::string to = "gguf", through = "bf16";

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand(
        "stability",
        "write the weights in floating point, quantize them by ggml's rules, count the blocks that come back");
    model.add_to(verb, true);
    scheme.add_to(verb, "quantize a floating-point model with this scheme first");
    verb->add_option("--to", to, "as of export: gguf, or gguf:TYPE such as gguf:q4_0")->capture_default_str();
    verb->add_option("--through", through, "type of the checkpoint in between")
        ->capture_default_str()
        ->check(CLI::IsMember({"bf16", "f16", "f32"}));
    verb->footer(
        "What happens to a trained model whose weights go into a bf16 checkpoint, through a converter and\n"
        "llama-quantize. Exit code 3 unless every block has the bytes that export writes.\n"
        "Examples:\n"
        "  qat-llm stability --model run/packed --to gguf:q4_0");
    verb->callback([this] { run(); });
  }

  void run() {
    QAT_CHECK(to == "gguf" || to.starts_with("gguf:"), kInvalidArgument, "--to is ", to, "; accepted: gguf, gguf:TYPE");
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    quantize_if_asked(backend, checkpoint, network, scheme);
    const GgmlType stored = through == "bf16" ? GgmlType::kBF16 : through == "f16" ? GgmlType::kF16 : GgmlType::kF32;
    const std::vector<recipe::StabilityLine> lines = recipe::gguf_stability(network, gguf_type(to), stored);
    QAT_CHECK(!lines.empty(), kInvalidArgument, model.model,
              ": no layer is packed; accepted: a model trained for a type of GGUF, or --scheme");
    OrderedJson json = {{"model", model.model}, {"to", to}, {"through", through}, {"layers", OrderedJson::array()}};
    recipe::RequantizedBlocks all;
    std::printf("%-40s %8s %10s %10s\n", "layer", "type", "blocks", "equal");
    for (const recipe::StabilityLine& line : lines) {
      all.equal += line.blocks.equal;
      all.total += line.blocks.total;
      std::printf("%-40s %8s %10td %10td\n", line.name.c_str(), info(line.type).name, line.blocks.total,
                  line.blocks.equal);
      json["layers"].push_back({{"name", line.name},
                                {"type", info(line.type).name},
                                {"blocks", line.blocks.total},
                                {"equal", line.blocks.equal}});
    }
    std::printf("%td of %td blocks come back through %s: %.2f %%\n", all.equal, all.total, through.c_str(),
                all.total == 0 ? 100.0 : 100.0 * static_cast<double>(all.equal) / static_cast<double>(all.total));
    json.update({{"blocks", all.total}, {"equal", all.equal}});
    write_json(model.json, json);
    if (all.equal != all.total) throw BlocksDiffer{};
  }
};

}  // namespace qat_llm
