// The saved inputs of fuzzing, and files cut short: each is read, or refused with one clear line.
#include <doctest/doctest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "fuzz/targets.hpp"
#include "qat/io/onnx_writer.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/evaluation_table.hpp"
#include "qat/recipe/gguf_export.hpp"
#include "qat/recipe/packed_checkpoint.hpp"
#include "qat/recipe/run_checkpoint.hpp"
#include "qat/recipe/torchao_checkpoint.hpp"
#include "support/data.hpp"
#include "support/files.hpp"

using namespace qat;

namespace {

namespace fs = std::filesystem;

std::vector<fuzz::Reader> all_targets() {
  std::vector<fuzz::Reader> targets = fuzz::format_targets();
  for (fuzz::Reader& target : fuzz::recipe_targets()) targets.push_back(std::move(target));
  return targets;
}

struct Input {
  std::string name, bytes;
};

/// A seed that one of our own writers makes.
struct Seed {
  std::string target;
  Input input;
};

std::vector<Seed> written_seeds() {
  LlamaConfig config;
  config.dim = 32;
  config.hidden_dim = 32;
  config.n_layers = 1;
  config.n_heads = 2;
  config.n_kv_heads = 1;
  config.head_dim = 16;
  config.vocab_size = 8;
  config.max_seq_len = 8;
  nn::Transformer model(config);
  model.randomize(1, 0.2f);
  recipe::quantize(CpuBackend(), model, {{"linear", recipe::parse_scheme("8da4w")}});
  const test::TempDir dir;
  recipe::save_packed(model, dir / "packed");
  recipe::save_compressed_tensors(model, dir / "compressed");
  recipe::save_torchao(recipe::export_source(model), dir / "torchao");
  nn::Transformer floats(config);
  floats.randomize(3, 0.2f);
  write_hf_llama(recipe::on_grid_weights(recipe::export_source(floats)), dir / "hf");
  write_file(dir / "hf/generation_config.json", R"({"eos_token_id": [2, 3]})");
  fs::create_directory(dir / "sharded");
  const float shard[] = {1.0f, 2.0f, 3.0f, 4.0f};
  write_safetensors(dir / "sharded/a.safetensors", {{"u", DType::kF32, {2, 2}, shard}});
  write_safetensors(dir / "sharded/b.safetensors", {{"v", DType::kF32, {3}, shard}, {"w", DType::kU8, {}, shard}});
  write_file(dir / "sharded/model.safetensors.index.json",
             R"({"metadata": {"total_size": 29},)"
             R"( "weight_map": {"u": "a.safetensors", "v": "b.safetensors", "w": "b.safetensors"}})");
  fs::create_directory(dir / "run");
  write_file(dir / "run/run.json", R"({"format": "qat-run", "version": 1})");
  recipe::EvaluationTable table;
  table.datasets.push_back({"text", recipe::DatasetKind::kText, "a.txt", "windows", 9, 2, 0, 4});
  recipe::EvaluatedModel& evaluated = table.models.emplace_back();
  evaluated.name = "QAT";
  evaluated.scheme = "8da4w";
  evaluated.resident_bytes = 5.0;
  evaluated.scores.push_back({"text", {{"nats_per_token", 1.5, 0.25}}});
  table.paired.push_back({"text", "nats_per_token", "QAT", "PTQ", -0.5, 0.125});
  recipe::write_evaluation(dir / "run/evaluation.json", table);
  write_file(dir / "run/metrics.jsonl",
             R"({"step": 1, "loss": 2.5, "grad_norm": null, "lr": 0.001, "validation": {"float": 2.25}})"
             "\n");
  const auto directory = [&](const std::string& name, std::initializer_list<const char*> files) {
    std::string all;
    for (const char* file : files)
      all += (all.empty() ? "" : std::string(fuzz::kNextFile)) + test::read_file(dir / (name + "/" + file));
    return all;
  };
  nn::Transformer gpt2(with_architecture(config, Architecture::kGpt2));
  gpt2.randomize(2, 0.2f);
  recipe::export_gguf(model, {}, dir / "llama.gguf");
  recipe::export_gguf(gpt2, {}, dir / "gpt2.gguf");
  OnnxGraph graph("g");
  const float w[] = {1.0f, 2.0f, 3.0f};
  graph.input("x", OnnxType::kFloat, {"3"});
  graph.floats("w", {3}, w, 3);
  graph.named("y", graph.node("Add", {"x", "w"}));
  graph.output("y", OnnxType::kFloat, {"3"});
  graph.save(dir / "m.onnx");
  Json state = {{"format", "qat-run"}, {"version", 1}, {"step", 3}, {"tensors", {{"w", "0123456789abcdef"}}}};
  state["checksum"] = checksum_text(recipe::detail::checksum_of(state));
  const std::string llama_file = test::read_file(dir / "llama.gguf"), gpt2_file = test::read_file(dir / "gpt2.gguf"),
                    onnx_file = test::read_file(dir / "m.onnx");
  return {
      {"packed_checkpoint", {"seed-written", directory("packed", {recipe::kPackedFile, "model.safetensors"})}},
      {"compressed_tensors", {"seed-written", directory("compressed", {"config.json", "model.safetensors"})}},
      {"torchao", {"seed-written", directory("torchao", {"config.json", "model.safetensors"})}},
      {"hf_model", {"seed-written", directory("hf", {"config.json", "generation_config.json", "model.safetensors"})}},
      {"safetensors_index",
       {"seed-written", directory("sharded", {"model.safetensors.index.json", "a.safetensors", "b.safetensors"})}},
      {"run_directory", {"seed-written", directory("run", {"run.json", "evaluation.json", "metrics.jsonl"})}},
      {"gguf_model", {"seed-llama", llama_file}},
      {"gguf_model", {"seed-gpt2", gpt2_file}},
      {"onnx", {"seed-written", onnx_file}},
      {"inspect", {"seed-gguf", gpt2_file}},
      {"run_state", {"seed-written", state.dump(2)}},
      {"recipe_yaml",
       {"seed-written",
        "model:\n  model_name: stories260K.bin\nqat:\n  quantizer: {scheme: 8da4w}\ntrainer:\n  max_steps: 3\n"}}};
}

std::vector<Input> inputs(const fuzz::Reader& target) {
  std::vector<Input> out;
  const fs::path folder = test::source_root() / "test/fuzz/corpus" / target.name;
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      out.push_back({entry.path().filename().string(), test::read_file(entry.path())});
  static const std::vector<Seed> written = written_seeds();
  for (const Seed& seed : written)
    if (seed.target == target.name) out.push_back(seed.input);
  std::sort(out.begin(), out.end(), [](const Input& a, const Input& b) { return a.name < b.name; });
  return out;
}

bool is_seed(const Input& input) { return input.name.starts_with("seed"); }

}  // namespace

TEST_CASE("every saved input is read or refused with one line; seeds are read") {
  if (const char* folder = std::getenv("QAT_FUZZ_SEEDS"))
    for (const Seed& seed : written_seeds()) {
      fs::create_directories(fs::path(folder) / seed.target);
      test::write_bytes((fs::path(folder) / seed.target / seed.input.name).string(), seed.input.bytes);
    }
  const test::TempDir dir;
  for (const fuzz::Reader& target : all_targets()) {
    const std::vector<Input> saved = inputs(target);
    INFO(target.name);
    CHECK_FALSE(saved.empty());
    for (const Input& input : saved) {
      INFO(input.name);
      const std::string path = dir / target.file;
      test::write_bytes(path, input.bytes);
      const std::string message = fuzz::run(target, path);
      INFO(message);
      CHECK_FALSE(message.starts_with("(a message that is not one line)"));
      if (is_seed(input)) CHECK(message.empty());
    }
  }
}

TEST_CASE("a file cut at any 64th is refused with its name, place and field where the format says how long it is") {
  const test::TempDir dir;
  const std::regex place("at byte [0-9]+|bytes [0-9]+ to [0-9]+|line [0-9]+, column [0-9]+"),
      field("'[^']+'|[a-z0-9_] needs [0-9]+ bytes|inside [a-zA-Z]|the tensors end|while parsing");
  for (const fuzz::Reader& target : all_targets())
    for (const Input& input : inputs(target)) {
      if (!is_seed(input)) continue;
      for (std::size_t part = 0; part < 64; ++part) {
        const std::size_t size = input.bytes.size() * part / 64;
        const std::string path = dir / target.file;
        test::write_bytes(path, input.bytes.substr(0, size));
        const std::string message = fuzz::run(target, path);
        INFO(target.name << " " << input.name << " cut to " << size << " bytes: " << message);
        CHECK_FALSE(message.starts_with("(a message that is not one line)"));
        CHECK((test::contains(message, target.file) || (message.empty() && !target.counts)));
        if (!target.counts) continue;
        CHECK(std::regex_search(message, place));
        CHECK(std::regex_search(message, field));
      }
    }
}

TEST_CASE("corpus folders belong to targets") {
  std::set<std::string> names;
  for (const fuzz::Reader& target : all_targets()) names.insert(target.name);
#if !defined(QAT_WITH_SENTENCEPIECE)
  names.insert("sentencepiece");
#endif
  for (const auto& entry : fs::directory_iterator(test::source_root() / "test/fuzz/corpus"))
    CHECK_MESSAGE(names.count(entry.path().filename().string()) == 1, entry.path().string());
}
