// What a run is made from, as JSON: runs of equal identity compute the same bits, step by step.
#pragma once

#include <span>
#include <string>

#include "qat/io/hf_llama.hpp"
#include "qat/io/xxhash.hpp"
#include "qat/recipe/train.hpp"

namespace qat::inline v0::recipe {

/// Number and checksum of the tokens that a run draws its batches from.
inline Json data_identity(std::span<const std::int32_t> tokens) {
  return {{"tokens", tokens.size()}, {"checksum", checksum_text(xxh64(tokens.data(), tokens.size_bytes()))}};
}

namespace detail {

inline Json model_identity(nn::Transformer& model) {
  Json json = Json::parse(hf_llama_config_text(model.config(), DType::kF32));
  std::uint64_t checksum = 0;
  for (const Parameter* p : model.parameters())
    checksum = xxh64(p->value.data(), static_cast<std::size_t>(p->value.size_bytes()), checksum);
  json["weights"] = checksum_text(checksum);
  return json;
}

/// How every prepared layer is quantized, by its name.
inline Json layers_identity(nn::Transformer& model) {
  const auto describe = [](const LayerScheme& scheme, SteMask mask, bool learns) -> Json {
    constexpr const char* kMasks[] = {"inclusive", "strict", "pass_through"};
    Json json = {{"mask", kMasks[static_cast<int>(mask)]}, {"learned_scales", learns}};
    if (scheme.weight) json["weight"] = to_string(*scheme.weight).c_str();
    if (scheme.activation) json["activation"] = to_string(*scheme.activation).c_str();
    return json;
  };
  Json json = Json::object();
  for (const NamedLayer& layer : layers_of(model)) {
    if (layer.linear != nullptr)
      if (auto* p = dynamic_cast<nn::PreparedLinear*>(layer.linear->quantization())) {
        json[layer.name] = describe(p->scheme(), p->activation_mask(), p->learned_scales().has_value());
        if (p->scheme().has_integer_product())
          json[layer.name]["product"] = p->product() == nn::Product::kInteger ? "integer" : "float";
      }
    if (layer.embedding != nullptr)
      if (auto* p = dynamic_cast<nn::PreparedEmbedding*>(layer.embedding->quantization()))
        json[layer.name] = describe({p->spec(), {}}, p->mask(), p->learned_scales().has_value());
  }
  return json;
}

inline Json training_identity(const CpuBackend& backend, const TrainConfig& c) {
  constexpr const char* kSchedules[] = {"constant", "linear", "cosine"};
  Json json = {{"batch", c.batch},
               {"length", c.length},
               {"accumulation", c.accumulation},
               {"lr", c.lr},
               {"warmup_steps", c.warmup_steps},
               {"schedule", kSchedules[static_cast<int>(c.schedule)]},
               {"beta1", c.beta1},
               {"beta2", c.beta2},
               {"weight_decay", c.weight_decay},
               {"scale_lr", c.scale_lr},
               {"clip_norm", c.clip_norm},
               {"seed", c.seed},
               {"delay_fake_quant_steps", c.delay_fake_quant_steps},
               {"matmul", backend.matmul_precision() == MatmulPrecision::kBfloat16 ? "bf16" : "fp32"}};
  if (c.schedule != ScheduleKind::kConstant) {  // the other schedules end at the last step
    json["steps"] = c.steps;
    json["lr_floor"] = c.lr_floor;
  }
  if (c.ema_decay > 0.0) json["ema_decay"] = c.ema_decay;
  return json;
}

}  // namespace detail

/// Identity of a run that is about to begin: the model has its first weights and is prepared. The number of threads is
/// no part of it, nor is the number of steps under a constant learning rate: such a run can go on for longer.
/// data: of data_identity(), or whatever else tells batches apart.
/// device: what computes the steps; null: the CPU
inline Json run_identity(const CpuBackend& backend, nn::Transformer& model, const Json& data, const TrainConfig& config,
                         const TrainingDevice* device = nullptr) {
  Json json = {{"model", detail::model_identity(model)},
               {"layers", detail::layers_identity(model)},
               {"data", data},
               {"training", detail::training_identity(backend, config)}};
  if (device != nullptr) json["training"]["device"] = device->kind();
  return json;
}

namespace detail {
/// "a.b is 1 in A, absent in B": the first difference below a path, "" where there is none.
inline std::string first_difference(const Json& a, const std::string& a_name, const Json& b, const std::string& b_name,
                                    const std::string& path) {
  if (a == b) return "";
  if (!a.is_object() || !b.is_object()) {
    const auto text = [](const Json& value) { return value.is_null() ? std::string("absent") : json_text(value); };
    return path + " is " + text(a) + " in " + a_name + ", " + text(b) + " in " + b_name;
  }
  for (const Json* keys : {&a, &b})
    for (const auto& [key, value] : keys->items()) {
      const std::string found =
          first_difference(a.value(key, Json()), a_name, b.value(key, Json()), b_name, path + "." + key);
      if (!found.empty()) return found;
    }
  return "";
}
}  // namespace detail

/// "training.lr is 0.001 in A, 0.0003 in B": the first difference of two identities, "" where there is none.
inline std::string identity_difference(const Json& a, const std::string& a_name, const Json& b,
                                       const std::string& b_name) {
  for (const char* part : {"model", "data", "layers", "training"}) {  // what else differs may follow from the first
    const std::string found =
        detail::first_difference(a.value(part, Json()), a_name, b.value(part, Json()), b_name, part);
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace qat::inline v0::recipe
