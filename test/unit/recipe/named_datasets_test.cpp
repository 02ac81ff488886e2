// Names of data sets, and where they are looked for.
#include "qat/recipe/named_datasets.hpp"

#include <doctest/doctest.h>

#include "support/files.hpp"

using namespace qat;
using namespace qat::test;

TEST_CASE("a name is found below the directory of data, the first of its places first") {
  const TempDir directory;
  make_directory(directory / "hellaswag");
  write_bytes(directory / "hellaswag/hellaswag_val_1000.jsonl", "x");
  CHECK(recipe::find_dataset("hellaswag", directory.path()).file == directory / "hellaswag/hellaswag_val_1000.jsonl");
  write_bytes(directory / "hellaswag/hellaswag_val.jsonl", "x");
  const recipe::DatasetSource source = recipe::find_dataset("hellaswag", directory.path());
  CHECK(source.file == directory / "hellaswag/hellaswag_val.jsonl");
  CHECK(source.name == "hellaswag");
  CHECK(source.kind == recipe::DatasetKind::kChoices);
}

TEST_CASE("a file is a data set by its ending") {
  const TempDir directory;
  write_bytes(directory / "a.jsonl", "x");
  write_bytes(directory / "a.txt", "x");
  CHECK(recipe::find_dataset(directory / "a.jsonl", "").kind == recipe::DatasetKind::kChoices);
  CHECK(recipe::find_dataset(directory / "a.txt", "").kind == recipe::DatasetKind::kText);
  CHECK(recipe::find_dataset(directory / "a.txt", "").name == "a.txt");
}

TEST_CASE("what is not found says where it was looked for, and which names there are") {
  const TempDir directory;
  const std::string last = directory / "text/wikitext-2-test.txt";
  QAT_CHECK_ERROR(recipe::find_dataset("wikitext-2", directory.path()), "dataset wikitext-2: not found", last.c_str(),
                  "--data-dir", "$QAT_DATA");
  QAT_CHECK_ERROR(recipe::find_dataset("mmlu", directory.path()), "'mmlu'",
                  "wikitext-2, hellaswag, cloze, tinystories");
}
