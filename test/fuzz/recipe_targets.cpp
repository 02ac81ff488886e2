// What a run reads.
#include "fuzz/targets.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/evaluation_table.hpp"
#include "qat/recipe/metrics_file.hpp"
#include "qat/recipe/packed_checkpoint.hpp"
#include "qat/recipe/path_summary.hpp"
#include "qat/recipe/recipe_yaml.hpp"
#include "qat/recipe/run_checkpoint.hpp"
#include "qat/recipe/torchao_checkpoint.hpp"

namespace qat::fuzz {
namespace {

/// A directory in one file: its files, the names in order, with kNextFile between them. Returns the directory.
std::string unpack(const std::string& path, std::initializer_list<const char*> names) {
  const MappedFile file(path);
  std::string_view rest = file.text();
  const std::string directory = path + ".directory";
  make_directory(directory);
  for (const char* name : names) {
    const std::size_t end = std::min(rest.find(kNextFile), rest.size());
    put(join_path(directory, name), rest.substr(0, end));
    rest = rest.substr(std::min(end + kNextFile.size(), rest.size()));
  }
  return directory;
}

/// Bytes of tensors, so that one outside its file is found.
void touch(const Safetensors& file) {
  unsigned sum = 0;
  for (const auto& [name, view] : file.tensors())
    for (std::size_t i = 0; i < view.bytes; ++i) sum += view.data[i];
  volatile unsigned seen = sum;
  (void)seen;
}

/// inspect, and what import, eval and export open.
template <class Load>
void inspect_and_load(const std::string& directory, const Load& load) {
  (void)recipe::summarize_path(directory);
  load(directory);
}

}  // namespace

std::vector<Reader> recipe_targets() {
  return {
      {"recipe_yaml", "recipe.yaml", [](const std::string& path) { (void)recipe::load_recipe(path); }, false},
      {"packed_checkpoint", "packed",
       [](const std::string& path) {
         inspect_and_load(unpack(path, {recipe::kPackedFile, "model.safetensors"}),
                          [](const std::string& d) { (void)recipe::load_packed(d); });
       }},
      {"compressed_tensors", "compressed",
       [](const std::string& path) {
         inspect_and_load(unpack(path, {"config.json", "model.safetensors"}),
                          [](const std::string& d) { (void)recipe::load_compressed_tensors(d); });
       }},
      {"torchao", "torchao",
       [](const std::string& path) {
         inspect_and_load(unpack(path, {"config.json", "model.safetensors"}),
                          [](const std::string& d) { (void)recipe::load_torchao(d); });
       }},
      {"hf_model", "model",
       [](const std::string& path) {
         inspect_and_load(unpack(path, {"config.json", "generation_config.json", "model.safetensors"}),
                          [](const std::string& d) { (void)read_hf_llama(d); });
       }},
      {"safetensors_index", "sharded",
       [](const std::string& path) {
         const std::string directory = unpack(path, {"model.safetensors.index.json", "a.safetensors", "b.safetensors"});
         (void)recipe::summarize_path(directory);
         touch(Safetensors::open(directory));
       }},
      {"run_directory", "run",
       [](const std::string& path) {
         const std::string directory = unpack(path, {"run.json", "evaluation.json", "metrics.jsonl"});
         (void)recipe::summarize_path(directory);
         (void)recipe::read_evaluation(join_path(directory, "evaluation.json"));
         (void)recipe::read_metrics(join_path(directory, "metrics.jsonl"));
       },
       false},
      {"inspect", "model", [](const std::string& path) { (void)recipe::summarize_path(path); }, false},
      {"run_state", "state.json", [](const std::string& path) { (void)recipe::detail::read_run_state(path); }},
  };
}

}  // namespace qat::fuzz
