// A run on disk at a step boundary: everything that the rest of it depends on, and checksums of it.
//
// A directory with
//   state.safetensors  F32 tensors under the names of Trainer::state(): weights NAME.weight, their moments
//                      NAME.weight.exp_avg and .exp_avg_sq, learned scales NAME.weight_scale with .zero_point and
//                      moments; with averaged weights also NAME.average of weights and scales
//   state.json         {"format": "qat-run", "version": 1, "qat": VERSION, "step": steps done, "fake_quantized": BOOL,
//                      "scales_begun": BOOL, "identity": {...}, "tensors": {NAME: XXH64}, "checksum": XXH64 of the
//                      rest}
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "qat/io/directory.hpp"
#include "qat/io/safetensors.hpp"
#include "qat/recipe/run_identity.hpp"
#include "qat/version.hpp"

namespace qat::inline v0::recipe {

namespace detail {

inline std::string version_text() {
  return concat(QAT_VERSION_MAJOR, ".", QAT_VERSION_MINOR, ".", QAT_VERSION_PATCH).c_str();
}
/// indent: of the lines; -1 for a single one
inline std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}
inline std::uint64_t checksum_of(const Json& json) { return xxh64(dump(json, -1)); }
inline std::vector<index_t> extents_of(const Tensor<float>& tensor) {
  std::vector<index_t> extents;
  for (int d = 0; d < tensor.rank(); ++d) extents.push_back(tensor.dim(d));
  return extents;
}

/// The content of state.json, without its checksum.
/// @throws qat::Error naming the file and what is wrong with it
inline Json read_run_state(const std::string& path) {
  Json json = read_json(path);
  const JsonFields fields(json, path);
  QAT_CHECK(fields.string_or("format", "absent") == "qat-run", kBadFile, path, ": 'format' is ",
            fields.string_or("format", "absent"), "; accepted: qat-run");
  QAT_CHECK(fields.integer("version") == 1, kBadFile, path, ": 'version' is ", fields.integer("version"),
            "; accepted: 1");
  const std::string stated = fields.string("checksum");
  json.erase("checksum");
  const std::string actual = checksum_text(checksum_of(json));
  QAT_CHECK(stated == actual, kBadFile, path, ": states the checksum ", printable(stated), ", its content has ", actual,
            "; the file is damaged");
  return json;
}

}  // namespace detail

/// Writes the state of a run into a directory, which appears complete or not at all. Its parent must exist, it itself
/// must not. identity: of run_identity() before the first step.
inline void save_run_checkpoint(const std::string& directory, Trainer& trainer, const Json& identity) {
  std::vector<SafetensorEntry> entries;
  Json checksums = Json::object();
  for (const StateEntry& entry : trainer.state()) {
    const Tensor<float>& t = *entry.tensor;
    entries.push_back({entry.name, DType::kF32, detail::extents_of(t), t.data()});
    checksums[entry.name] = checksum_text(xxh64(t.data(), static_cast<std::size_t>(t.size_bytes())));
  }
  Json json = {{"format", "qat-run"},
               {"version", 1},
               {"qat", detail::version_text()},
               {"step", trainer.next_step()},
               {"fake_quantized", trainer.fake_quantized()},
               {"scales_begun", trainer.scales_begun()},
               {"identity", identity},
               {"tensors", std::move(checksums)}};
  json["checksum"] = checksum_text(detail::checksum_of(json));
  AtomicDirectoryWriter writer(directory);
  write_safetensors(join_path(writer.path(), "state.safetensors"), std::move(entries));
  write_file(join_path(writer.path(), "state.json"), detail::dump(json, 1) + "\n");
  writer.commit();
}

/// Brings a trainer, fresh from its constructor, to where the checkpoint was written.
/// @throws qat::Error naming the file and what is missing, damaged, or of another run; the trainer is then unchanged
inline void load_run_checkpoint(const std::string& directory, Trainer& trainer, const Json& identity) {
  const std::string path = join_path(directory, "state.json");
  const Json json = detail::read_run_state(path);
  const JsonFields fields(json, path);
  QAT_CHECK(fields.at("identity").is_object(), kBadFile, path, ": 'identity' is ", json_text(fields.at("identity")),
            "; accepted: a JSON object");
  const std::string difference = identity_difference(fields.at("identity"), "the checkpoint", identity, "this run");
  QAT_CHECK(difference.empty(), kInvalidArgument, path, ": is of another run: ", difference);
  const index_t step = fields.integer("step"), steps = trainer.config().steps;
  QAT_CHECK(step >= 0 && step <= steps, kInvalidArgument, path, ": was written after ", step, " steps; this run has ",
            steps);
  const bool fake_quantized = fields.boolean_or("fake_quantized", false);
  QAT_CHECK(fake_quantized == (step > trainer.config().delay_fake_quant_steps), kBadFile, path,
            ": 'fake_quantized' is ", fake_quantized, " after step ", step, " with delay_fake_quant_steps ",
            trainer.config().delay_fake_quant_steps);

  const std::string tensor_path = join_path(directory, "state.safetensors");
  const Safetensors file = Safetensors::open(tensor_path);
  const JsonFields checksums(fields.at("tensors"), path + ": 'tensors'");
  const std::vector<StateEntry> state = trainer.state();
  std::vector<const SafetensorView*> views;
  for (const StateEntry& entry : state) {
    const SafetensorView& view = *views.emplace_back(&file.at(entry.name));
    const std::vector<index_t> extents = detail::extents_of(*entry.tensor);
    QAT_CHECK(view.dtype == DType::kF32 && view.shape == extents, kBadFile, tensor_path, ": tensor ",
              printable(entry.name), " is ", info(view.dtype).name, " of shape ", shape_text(view.shape),
              "; this run needs F32 of shape ", shape_text(extents));
    const std::string stated = checksums.string(entry.name.c_str()),
                      actual = checksum_text(xxh64(view.data, view.bytes));
    QAT_CHECK(stated == actual, kBadFile, tensor_path, ": tensor ", printable(entry.name), " has the checksum ", actual,
              ", state.json states ", printable(stated), "; the file is damaged");
  }
  for (const auto& [name, view] : file.tensors()) {
    bool known = false;
    for (const StateEntry& entry : state) known = known || entry.name == name;
    QAT_CHECK(known, kBadFile, tensor_path, ": tensor ", printable(name), " is not part of this run");
  }
  for (std::size_t i = 0; i < state.size(); ++i)
    if (views[i]->bytes > 0) std::memcpy(state[i].tensor->data(), views[i]->data, views[i]->bytes);
  trainer.seek(step, fields.boolean_or("scales_begun", false));
}

}  // namespace qat::inline v0::recipe
