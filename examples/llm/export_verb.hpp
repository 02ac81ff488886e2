// qat-llm export: a model as a file that other programs run.
#pragma once

#include "options.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"

namespace qat_llm {

struct ExportVerb {
  ModelOptions model;
  SchemeOptions scheme;
  std::string to, out, dtype = "f32";

  void add_to(CLI::App& app) {
    CLI::App* verb =
        app.add_subcommand("export", "write a model for other programs, with the integers it was trained to");
    model.add_to(verb, true);
    scheme.add_to(verb, "quantize a floating-point model with this scheme first");
    verb->add_option("--to", to,
                     "hf: Hugging Face directory, float weights on the trained grid; compressed-tensors: packed\n"
                     "integers for vLLM and transformers; llama2c: .bin, float weights on the trained grid")
        ->required()
        ->check(CLI::IsMember({"hf", "compressed-tensors", "llama2c"}));
    verb->add_option("--out", out, "directory or file to write")->required();
    verb->add_option("--dtype", dtype, "hf, compressed-tensors: of what is not integer; bf16 and f16 round it")
        ->capture_default_str()
        ->check(CLI::IsMember({"f32", "bf16", "f16"}));
    verb->footer(
        "Examples:\n"
        "  qat-llm export --model run/packed --to compressed-tensors --out for-vllm\n"
        "  qat-llm export --model run/packed --to hf --out floats --dtype bf16\n"
        "  qat-llm export --model stories260K.bin --scheme qat4:axis0 --to compressed-tensors --out ptq");
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(model.model);
    nn::Transformer network = checkpoint.model();
    quantize_if_asked(backend, checkpoint, network, scheme);
    const DType type = dtype == "bf16" ? DType::kBF16 : dtype == "f16" ? DType::kF16 : DType::kF32;
    OrderedJson json = {{"model", model.model}, {"to", to}, {"out", out}, {"remarks", OrderedJson::array()}};
    if (to == "compressed-tensors") {
      const recipe::CompressedTensorsReport report = recipe::save_compressed_tensors(network, out, {type});
      std::printf("wrote %s: %td linear layers packed, %td layers in floating point\n", out.c_str(), report.packed,
                  report.in_float);
      for (const std::string& remark : report.remarks) std::printf("  %s\n", remark.c_str());
      json.update({{"packed", report.packed}, {"in_float", report.in_float}, {"remarks", report.remarks}});
    } else {
      const bool is_file = to == "llama2c";
      QAT_CHECK(is_file == out.ends_with(".bin"), kInvalidArgument, "--out is ", out, "; --to ", to, " writes a ",
                is_file ? "file whose name ends in .bin" : "directory");
      save_llama({network.config(), recipe::on_grid_weights(network)}, out, type);
      std::printf("wrote %s: %s\n", out.c_str(),
                  checkpoint.is_packed() || !scheme.scheme.empty() ? "the values that the packed codes stand for"
                                                                   : "the weights as they are");
    }
    if (to != "llama2c") copy_tokenizer(model.model, network.config().vocab_size, out);
    write_json(model.json, json);
  }
};

}  // namespace qat_llm
