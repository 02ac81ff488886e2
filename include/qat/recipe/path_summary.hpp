// What a path holds, whatever it is: a file or a directory of any format that qat reads or writes.
#pragma once

#include <string>

#include "qat/data/load_tokenizer.hpp"
#include "qat/io/file_summary.hpp"
#include "qat/io/llama.hpp"
#include "qat/recipe/compressed_tensors_checkpoint.hpp"
#include "qat/recipe/run_directory.hpp"

namespace qat::inline v0::recipe {

namespace detail {

/// An object's members as lines, numbers and texts whole, the rest shortened.
inline void add_members(FileSummary& summary, const Json& object, const std::string& prefix = "") {
  for (const auto& [key, value] : object.items()) summary.metadata.emplace_back(prefix + key, json_text(value));
}

/// The problem that `inspect` raises, as a line.
template <class Inspect>
void add_error(FileSummary& summary, const Inspect& inspect) {
  try {
    inspect();
  } catch (const Error& error) {
    summary.problems.emplace_back(error.what());
  }
}

/// Says which tokenizer a model has; one with more tokens than the embedding has rows is a problem.
inline void add_tokenizer(FileSummary& summary, const std::string& path, const LlamaConfig& config) {
  std::vector<std::pair<const char*, std::int32_t>> ids = {{"bos_token_id", config.bos_id},
                                                           {"eos_token_id", config.eos_id}};
  for (const std::int32_t id : config.more_eos_ids) ids.emplace_back("eos_token_id", id);
  for (const auto& [name, id] : ids)
    if (id >= config.vocab_size)
      summary.problems.push_back(concat(name, " is ", id, "; accepted: below vocab_size ", config.vocab_size).c_str());
  add_error(summary, [&] {
    const std::string file = find_model_tokenizer(path, config.vocab_size);
    if (file.empty()) return summary.metadata.emplace_back("tokenizer", "none"), void();
    const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(file);
    const index_t tokens = tokenizer->vocab_size();
    summary.metadata.emplace_back("tokenizer", concat(tokenizer->kind(), ", ", tokens, " tokens").c_str());
    QAT_CHECK(tokens <= config.vocab_size, kBadFile, file, ": has ", tokens, " tokens, the embedding ",
              config.vocab_size, " rows; accepted: at most as many tokens as rows");
  });
}

inline FileSummary summarize_tokenizer(const std::string& path) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(path);
  FileSummary out{path, std::string("tokenizer (") + tokenizer->kind() + ")", 0, {}, {}, 0, {}};
  if (!is_directory(path)) out.bytes = MappedFile(path).size();
  const auto id_text = [](std::int32_t id) { return id < 0 ? std::string("none") : std::to_string(id); };
  out.metadata = {{"tokens", std::to_string(tokenizer->vocab_size())},
                  {"bos", id_text(tokenizer->bos_id())},
                  {"eos", id_text(tokenizer->eos_id())}};
  return out;
}

/// run.json, what is beside it, and the tensors of the newest checkpoint.
inline FileSummary summarize_run(const std::string& path) {
  FileSummary out{path, "run", 0, {}, {}, 0, {}};
  add_members(out, RunDirectory::read_description(path));
  for (const std::string& name : list_directory(path)) {
    const std::string inner = join_path(path, name);
    if (is_directory(inner)) {
      if (name != "checkpoints" && !name.starts_with(kUnfinishedPrefix)) out.metadata.emplace_back("directory", name);
    } else {
      const std::uint64_t bytes = MappedFile(inner).size();
      out.metadata.emplace_back("file", name + ", " + std::to_string(bytes) + " bytes");
      out.bytes += bytes;
    }
  }
  const std::string checkpoints = join_path(path, "checkpoints");
  std::string newest;
  if (is_directory(checkpoints))
    for (const std::string& name : list_directory(checkpoints))
      if (name.starts_with("step-")) newest = name, out.metadata.emplace_back("checkpoint", name);
  if (newest.empty()) return out;
  add_error(out, [&] {
    const std::string directory = join_path(checkpoints, newest);
    (void)read_run_state(join_path(directory, "state.json"));
    add_tensors(out, Safetensors::open(join_path(directory, "state.safetensors")));
  });
  return out;
}

/// A directory with a model: its description, tensors and tokenizer. What the description and the tensors say of each
/// other is checked where floats are stored; packed layers are checked by loading them.
inline FileSummary summarize_model_directory(const std::string& path) {
  FileSummary out{path, "", 0, {}, {}, 0, {}};
  const bool is_packed = is_packed_checkpoint(path);
  const std::string description = join_path(path, is_packed ? kPackedFile : "config.json");
  const std::string method = quantization_method(path);
  out.format = is_packed        ? "packed directory of qat"
               : method.empty() ? "Hugging Face directory"
                                : "Hugging Face directory, " + method;
  Json json = read_json(description);
  out.bytes = MappedFile(description).size();
  add_members(out, is_packed ? JsonFields(json, description).at("config") : json);
  add_error(out, [&] {
    add_tensors(out, Safetensors::open(path));
    if (!is_packed && method.empty() && out.problems.empty()) (void)HfCheckpoint(path);
  });
  add_error(out, [&] {
    if (json.is_object()) json.erase("quantization_config");
    add_tokenizer(out, path,
                  parse_hf_llama_config(is_packed ? JsonFields(json, description).at("config") : json, description));
  });
  return out;
}

}  // namespace detail

/// What a file or directory holds, and what is wrong with its numbers, its names and its vocabulary.
/// Accepted: llama2.c .bin, GGUF, ONNX, safetensors (a file, or the index of shards), Hugging Face and
/// compressed-tensors directories, packed directories, run directories, tokenizers.
/// @throws qat::Error if the path is none of them, or its header is broken
inline FileSummary summarize_path(const std::string& given) {
  const std::string path =
      file_name(given) == "config.json" ? (parent_directory(given).empty() ? "." : parent_directory(given)) : given;
  if (is_directory(path)) {
    const auto holds = [&](const char* name) { return file_exists(join_path(path, name)); };
    if (holds("run.json")) return detail::summarize_run(path);
    if (holds(kPackedFile) || holds("config.json")) return detail::summarize_model_directory(path);
    if (holds("model.safetensors") || holds("model.safetensors.index.json")) return summarize_safetensors(path);
    if (!find_tokenizer(path).empty()) return detail::summarize_tokenizer(path);
    raise(ErrorCode::kBadFile, path,
          ": holds no model; accepted: config.json, qat_packed.json, run.json, model.safetensors or a tokenizer in it");
  }
  if (path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json")) return summarize_safetensors(path);
  if (path.ends_with(".onnx")) return summarize_onnx(path);
  if (path.ends_with(".json") || path.ends_with(".model")) return detail::summarize_tokenizer(path);
  if (file_exists(path) && file_name(path).starts_with("tok") && path.ends_with(".bin"))
    return detail::summarize_tokenizer(path);
  FileSummary out = qat::detail::open_llama(
      path, [](const std::string&) { return FileSummary(); }, summarize_gguf, summarize_llama2c);
  detail::add_error(out, [&] { detail::add_tokenizer(out, path, load_llama_config(path)); });
  return out;
}

}  // namespace qat::inline v0::recipe
