// qat-llm export: a model as a file that other programs run.
#pragma once

#include "options.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/gguf_export.hpp"
#include "qat/recipe/onnx_export.hpp"

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
    verb->add_option(
            "--to", to,
            "gguf: llama.cpp, each layer in the shortest type that holds it exactly; gguf:q4_0, gguf:q8_0 ...: "
            "in that type or not at all; compressed-tensors: vLLM and transformers, packed integers; torchao: PyTorch, "
            "integers as int8; onnx: ONNX "
            "Runtime, packed integers; hf: a Hugging Face directory, llama2c: a .bin, both with float weights "
            "on the trained grid")
        ->required();
    verb->add_option("--out", out, "directory or file to write")->required();
    verb->add_option("--dtype", dtype,
                     "gguf, compressed-tensors, torchao, hf: of what is not integer; bf16 and f16 round it")
        ->capture_default_str()
        ->check(CLI::IsMember({"f32", "bf16", "f16"}));
    verb->footer(
        "Examples:\n"
        "  qat-llm export --model run/packed --to gguf:q4_0 --out model.gguf\n"
        "  qat-llm export --model run/packed --to compressed-tensors --out for-vllm\n"
        "  qat-llm export --model run/packed --to onnx --out model.onnx\n"
        "  qat-llm export --model stories260K.bin --scheme qat4:axis0 --to hf --out floats --dtype bf16");
    verb->callback([this] { run(); });
  }

  void run() {
    const bool to_gguf = to == "gguf" || to.starts_with("gguf:"),
               to_directory = to == "hf" || to == "compressed-tensors" || to == "torchao";
    QAT_CHECK(to_gguf || to_directory || to == "onnx" || to == "llama2c", kInvalidArgument, "--to is ", to,
              "; accepted: gguf, gguf:TYPE, compressed-tensors, torchao, onnx, hf, llama2c");
    const char* const suffix = to_gguf ? ".gguf" : to == "onnx" ? ".onnx" : to == "llama2c" ? ".bin" : "";
    QAT_CHECK(out.ends_with(suffix) && !(to_directory && out.ends_with(".bin")), kInvalidArgument, "--out is ", out,
              "; --to ", to, " writes a ", to_directory ? "directory" : "file whose name ends in ", suffix);
    const recipe::ExportSource source = open_source();
    OrderedJson json = {{"model", model.model}, {"to", to}, {"out", out}, {"remarks", OrderedJson::array()}};
    if (to_gguf) {
      write_gguf(source, json);
    } else if (to == "onnx") {
      const recipe::OnnxReport report = recipe::save_onnx(source, out);
      tell(report.packed, report.in_float, report.remarks, json);
    } else if (to_directory) {
      write_model_directory(out, [&](const std::string& path) {
        copy_tokenizer(model.model, source.config.vocab_size, path, model.tokenizer);
        if (to == "hf") return save_llama(recipe::on_grid_weights(source), path, type());
        if (to == "torchao") {
          const recipe::TorchaoReport report = recipe::save_torchao(source, path, {type()});
          return tell(report.packed, report.in_float, report.remarks, json);
        }
        const recipe::CompressedTensorsReport report = recipe::save_compressed_tensors(source, path, {type()});
        tell(report.packed, report.in_float, report.remarks, json);
      });
    } else {
      save_llama(recipe::on_grid_weights(source), out);
    }
    if (to == "hf" || to == "llama2c")
      std::printf(
          "wrote %s: %s\n", out.c_str(),
          std::any_of(source.layers.begin(), source.layers.end(), [](const auto& l) { return l.packed != nullptr; })
              ? "the values that the packed codes stand for"
              : "the weights as they are");
    write_json(model.json, json);
  }

 private:
  /// The checkpoint layer by layer, or the model in memory where it is quantized first, or the file must be read whole.
  recipe::ExportSource open_source() {
    const std::string& path = model.model;
    const bool whole = !scheme.scheme.empty() || !quantization_method(path).empty();
    if (!whole)
      return recipe::is_packed_checkpoint(path) ? recipe::open_packed_source(path)
                                                : recipe::export_source(open_weights(path));
    const CpuBackend backend = model.backend();
    const Checkpoint checkpoint(path);
    network_ = std::make_unique<nn::Transformer>(checkpoint.model());
    quantize_if_asked(backend, checkpoint, *network_, scheme);
    return recipe::export_source(*network_);
  }
  std::unique_ptr<nn::Transformer> network_;

  DType type() const { return dtype == "bf16" ? DType::kBF16 : dtype == "f16" ? DType::kF16 : DType::kF32; }
  void tell(index_t packed, index_t in_float, const std::vector<std::string>& remarks, OrderedJson& json) const {
    std::printf("wrote %s: %td linear layers packed, %td layers in floating point\n", out.c_str(), packed, in_float);
    for (const std::string& remark : remarks) std::printf("  %s\n", remark.c_str());
    json.update({{"packed", packed}, {"in_float", in_float}, {"remarks", remarks}});
  }
  void write_gguf(const recipe::ExportSource& source, OrderedJson& json) const {
    recipe::GgufExportOptions options;
    options.model_name = file_name(model.model);
    options.type = gguf_type(to);
    options.float_type = dtype == "bf16" ? GgmlType::kBF16 : dtype == "f16" ? GgmlType::kF16 : GgmlType::kF32;
    const GgufMetadata tokenizer = gguf_tokenizer(model.model, model.tokenizer, source.config);
    const recipe::GgufReport report = recipe::export_gguf(
        source, tokenizer, out, options,
        [progress = std::make_shared<Progress>("export")](std::uint64_t done, std::uint64_t total) {
          progress->show(static_cast<index_t>(done >> 10), static_cast<index_t>(total >> 10), "KiB");
        });
    std::map<std::string, index_t> types;
    json["layers"] = OrderedJson::array();
    for (const recipe::GgufLayer& layer : report) {
      ++types[info(layer.type).name];
      json["layers"].push_back(
          {{"name", layer.name}, {"type", info(layer.type).name}, {"bytes", layer.bytes}, {"remark", layer.remark}});
    }
    std::printf("wrote %s:", out.c_str());
    for (const auto& [name, count] : types) std::printf(" %td x %s", count, name.c_str());
    std::printf("\n");
    for (const recipe::GgufLayer& layer : report)
      if (!layer.remark.empty()) std::printf("  %s: %s\n", layer.name.c_str(), layer.remark.c_str());
  }
};

}  // namespace qat_llm
