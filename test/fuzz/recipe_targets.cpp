// What a run reads.
#include "fuzz/targets.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/packed_checkpoint.hpp"
#include "qat/recipe/path_summary.hpp"
#include "qat/recipe/recipe_yaml.hpp"
#include "qat/recipe/run_checkpoint.hpp"

namespace qat::fuzz {
namespace {

/// A directory in one file: the file `description`, a NUL byte, model.safetensors. Returns the directory.
std::string unpack(const std::string& path, const char* description) {
  const MappedFile file(path);
  const std::string_view all = file.text();
  const std::size_t end = std::min(all.find('\0'), all.size());
  const std::string directory = path + ".directory";
  make_directory(directory);
  write_file(join_path(directory, description), all.substr(0, end));
  write_file(join_path(directory, "model.safetensors"), all.substr(std::min(end + 1, all.size())));
  return directory;
}

}  // namespace

std::vector<Reader> recipe_targets() {
  return {
      {"recipe_yaml", "recipe.yaml", [](const std::string& path) { (void)recipe::load_recipe(path); }, false},
      {"packed_checkpoint", "packed",
       [](const std::string& path) { (void)recipe::load_packed(unpack(path, recipe::kPackedFile)); }},
      {"compressed_tensors", "compressed",
       [](const std::string& path) { (void)recipe::load_compressed_tensors(unpack(path, "config.json")); }},
      {"inspect", "model", [](const std::string& path) { (void)recipe::summarize_path(path); }, false},
      {"run_state", "state.json", [](const std::string& path) { (void)recipe::detail::read_run_state(path); }},
  };
}

}  // namespace qat::fuzz
