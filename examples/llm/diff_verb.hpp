// qat-llm diff: which codes, scales and values of two models differ.
#pragma once

#include "options.hpp"
#include "qat/recipe/model_diff.hpp"

namespace qat_llm {

struct DiffVerb {
  std::string a, b, json;
  bool all = false;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("diff", "codes, scales and values that differ between two models");
    verb->add_option("A", a, "a model of any format")->required();
    verb->add_option("B", b, "another one, of the same shape")->required();
    verb->add_flag("--all", all, "print layers without a difference too");
    verb->add_option("--json", json, "also write the results to this file");
    verb->footer(
        "A layer that is packed in both models in the same groups has its codes, scales and zero points compared; "
        "every\n"
        "layer the values it computes with. Exit code 0 either way: the last line says how many layers differ.\n"
        "Examples:\n"
        "  qat-llm diff run/packed for-vllm\n"
        "  qat-llm diff stories260K.bin run/model --all");
    verb->callback([this] { run(); });
  }

  void run() {
    nn::Transformer first = Checkpoint(a).model(), second = Checkpoint(b).model();
    const std::vector<recipe::LayerDiff> layers = recipe::model_diff(first, second);
    std::printf("%-40s %10s %10s %10s %10s %10s  %s\n", "layer", "weights", "values", "codes", "scales", "largest",
                "schemes");
    OrderedJson out = {{"a", a}, {"b", b}, {"layers", OrderedJson::array()}};
    index_t differing = 0;
    for (const recipe::LayerDiff& d : layers) {
      differing += !d.same();
      OrderedJson line = {{"name", d.name},         {"scheme_a", d.scheme_a}, {"scheme_b", d.scheme_b},
                          {"elements", d.elements}, {"values", d.values},     {"largest", d.largest}};
      if (d.has_codes)
        line.update(
            {{"codes", d.codes}, {"scale_count", d.scale_count}, {"scales", d.scales}, {"zero_points", d.zero_points}});
      out["layers"].push_back(std::move(line));
      if (d.same() && !all) continue;
      char codes[24] = "", scales[24] = "";
      if (d.has_codes) {
        std::snprintf(codes, sizeof codes, "%td", d.codes);
        std::snprintf(scales, sizeof scales, "%td", d.scales + d.zero_points);
      }
      std::printf("%-40s %10td %10td %10s %10s %10.3g  %s%s%s\n", d.name.c_str(), d.elements, d.values, codes, scales,
                  d.largest, d.scheme_a.c_str(), d.scheme_a == d.scheme_b ? "" : " | ",
                  d.scheme_a == d.scheme_b ? "" : d.scheme_b.c_str());
    }
    std::printf("%td of %zu layers differ\n", differing, layers.size());
    out["differing"] = differing;
    write_json(json, out);
  }
};

}  // namespace qat_llm
