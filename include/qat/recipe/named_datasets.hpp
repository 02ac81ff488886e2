// Data sets of the field by their names, found in a directory of data.
#pragma once

#include <string>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/recipe/evaluation_table.hpp"

namespace qat::inline v0::recipe {

/// A text or a file of choices that a model can be scored on.
struct DatasetSource {
  std::string name, file;
  DatasetKind kind = DatasetKind::kText;
  bool is_wikitext = false;  ///< scored article by article, as lm-evaluation-harness does; else as one stream
};

struct NamedDataset {
  const char* name;
  DatasetKind kind;
  bool is_wikitext;
  std::vector<const char*> paths;  ///< below the directory of data; the first one there is taken
  const char* doc;
};

inline const std::vector<NamedDataset>& named_datasets() {
  static const std::vector<NamedDataset> all = {
      {"wikitext-2",
       DatasetKind::kText,
       true,
       {"wikitext-2-raw/wiki.test.raw", "wikitext-2/wiki.test.tokens", "text/wikitext-2-test.txt"},
       "test part of WikiText-2, article by article"},
      {"hellaswag",
       DatasetKind::kChoices,
       false,
       {"hellaswag/hellaswag_val.jsonl", "hellaswag/hellaswag_val_1000.jsonl"},
       "validation items of HellaSwag"},
      {"cloze",
       DatasetKind::kChoices,
       false,
       {"tinystories/cloze_v2_valid.jsonl"},
       "the next sentence of a TinyStories story, among sentences of others"},
      {"tinystories", DatasetKind::kText, false, {"tinystories/v2-valid.txt"}, "stories of TinyStoriesV2"},
  };
  return all;
}

/// A data set by name, or a file: JSONL with choices where its name ends in .jsonl, else text.
/// @throws qat::Error that says where a name was looked for
inline DatasetSource find_dataset(const std::string& name, const std::string& data_directory) {
  std::string names;
  for (const NamedDataset& dataset : named_datasets()) {
    names += std::string(names.empty() ? "" : ", ") + dataset.name;
    if (dataset.name != name) continue;
    std::string looked;
    for (const char* path : dataset.paths) {
      const std::string file = join_path(data_directory, path);
      if (file_exists(file)) return {name, file, dataset.kind, dataset.is_wikitext};
      looked += (looked.empty() ? "" : ", ") + file;
    }
    raise(ErrorCode::kIo, "dataset ", name, ": not found; looked for ", looked, "; --data-dir or $QAT_DATA name the ",
          "directory of data");
  }
  QAT_CHECK(file_exists(name), kInvalidArgument, "dataset ", printable(name), ": is neither a file nor one of ", names);
  return {file_name(name), name, name.ends_with(".jsonl") ? DatasetKind::kChoices : DatasetKind::kText, false};
}

}  // namespace qat::inline v0::recipe
