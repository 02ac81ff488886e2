// qat-llm quantize: packs a model, post-training or as it was trained.
#pragma once

#include "options.hpp"

namespace qat_llm {

struct QuantizeVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::string out;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("quantize", "pack a model: post-training, or as it was trained");
    model.add_to(verb, true);
    model.add_device_to(verb, "what quantizes, to the same bits; auto: an NVIDIA GPU where there is one");
    scheme.add_to(verb, "scheme of the packed weights", true);
    verb->add_option("--out", out, "directory of the packed model")->required();
    verb->footer(
        "Examples:\n"
        "  qat-llm quantize --model stories260K.bin --scheme 8da4w --out packed\n"
        "  qat-llm quantize --model run/model --scheme qat4:group64 --layers 'layers.*.mlp.*' --out packed");
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend = model.backend();
    const RunDevice device = model.run_device();
    const Checkpoint checkpoint(model.model);
    QAT_CHECK(!checkpoint.is_packed(), kInvalidArgument, model.model, ": is packed already");
    nn::Transformer network = checkpoint.model();
    const recipe::Report report = recipe::quantize(backend, network, {scheme.rule()}, {}, device.packer().get());
    print_report(report);
    write_model_directory(out, [&](const std::string& path) {
      recipe::save_packed(network, path);
      copy_tokenizer(model.model, network.config().vocab_size, path, model.tokenizer);
    });
    write_json(model.json,
               {{"model", model.model}, {"out", out}, {"scheme", scheme.scheme}, {"report", to_json(report)}});
  }
};

}  // namespace qat_llm
