// The tables of keys: every field has one key, every name means one key, defaults are accepted.
#include "qat/recipe/recipe_keys.hpp"

#include <doctest/doctest.h>

#include <set>
#include <sstream>

using namespace qat;
using namespace qat::recipe;

namespace {

template <class T>
void check_table(const std::vector<RecipeKey<T>>& keys) {
  T value;
  std::set<const void*> places;
  std::set<std::string> names;
  for (const RecipeKey<T>& key : keys) {
    CAPTURE(key.path);
    std::istringstream aliases(key.aliases);
    std::vector<std::string> all = {key.path};
    for (std::string alias; aliases >> alias;) all.push_back(alias);
    for (const std::string& name : all) CHECK(names.insert(name).second);
    CHECK(std::string(key.doc).size() > 10);
    RecipeField field = key.field(value);
    CHECK(places.insert(std::visit([](auto* place) -> const void* { return place; }, field)).second);
    const auto in_range = [&](double number) { return number >= key.least && number <= key.most; };
    if (index_t** number = std::get_if<index_t*>(&field)) CHECK(in_range(static_cast<double>(**number)));
    if (double** number = std::get_if<double*>(&field)) CHECK(in_range(**number));
  }
  // A field without key would be left out of files: the fields that have one fill the struct but for padding.
  std::size_t bytes = 0;
  for (const RecipeKey<T>& key : keys) bytes += std::visit([](auto* place) { return sizeof *place; }, key.field(value));
  CHECK(bytes <= sizeof(T));
  CHECK(sizeof(T) - bytes <= 40);
}

}  // namespace

TEST_CASE("every field of a recipe has one key and every name means one key") { check_table(recipe_keys()); }
TEST_CASE("every field of a quantizer has one key") { check_table(quantizer_keys()); }
TEST_CASE("every field of a layer rule has one key") { check_table(layer_keys()); }

TEST_CASE("choices have as many names as values") {
  CHECK(kChoiceNames<ScheduleKind>[static_cast<std::size_t>(ScheduleKind::kCosine)] == std::string("cosine"));
  CHECK(kChoiceNames<ScheduleKind>[static_cast<std::size_t>(ScheduleKind::kConstant)] == std::string("constant"));
  CHECK(kChoiceNames<MatmulPrecision>[static_cast<std::size_t>(MatmulPrecision::kBfloat16)] == std::string("bf16"));
  CHECK(kChoiceNames<SteMask>[static_cast<std::size_t>(SteMask::kStrict)] == std::string("strict"));
  CHECK(kChoiceNames<SteMask>[static_cast<std::size_t>(SteMask::kPassThrough)] == std::string("pass_through"));
  CHECK(kChoiceNames<TaskKind>[static_cast<std::size_t>(TaskKind::kSft)] == std::string("sft"));
}
