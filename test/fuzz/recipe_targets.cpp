// What a run reads.
#include "fuzz/targets.hpp"
#include "qat/recipe/packed_checkpoint.hpp"
#include "qat/recipe/recipe_yaml.hpp"
#include "qat/recipe/run_checkpoint.hpp"

namespace qat::fuzz {
namespace {

/// A packed checkpoint in one file: qat_packed.json, a NUL byte, model.safetensors.
void read_packed(const std::string& path) {
  const MappedFile file(path);
  const std::string_view all = file.text();
  const std::size_t end = std::min(all.find('\0'), all.size());
  const std::string directory = path + ".directory";
  make_directory(directory);
  write_file(join_path(directory, recipe::kPackedFile), all.substr(0, end));
  write_file(join_path(directory, "model.safetensors"), all.substr(std::min(end + 1, all.size())));
  (void)recipe::load_packed(directory);
}

}  // namespace

std::vector<Reader> recipe_targets() {
  return {
      {"recipe_yaml", "recipe.yaml", [](const std::string& path) { (void)recipe::load_recipe(path); }, false},
      {"packed_checkpoint", "packed", read_packed},
      {"run_state", "state.json", [](const std::string& path) { (void)recipe::detail::read_run_state(path); }},
  };
}

}  // namespace qat::fuzz
