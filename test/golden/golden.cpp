// qat-golden DIR...: compares qat with golden cases of another program, role by role, and says what came of it.
// A folder with config.json and expected.safetensors is a Hugging Face checkpoint with recorded results.
// Exit code: 0 all compared and equal or within their bounds, 1 something failed or no case ran, 2 the folder is
// unusable.
#include "golden/checkpoint_record.hpp"
#include "golden/ggml_blocks.hpp"
#include "golden/runners.hpp"
#include "golden/tokenizer_ids.hpp"

namespace qat::golden {
namespace {

Runner runner_of(const std::string& family, const std::string& id) {
  const Runner runner = scheme_runner(family, id);
  return runner != nullptr ? runner : layer_runner(family, id);
}

/// Formats that are not built; scales are learned for fp32 tensors, their zero points never.
bool not_yet(const Json& json) {
  const std::string family = json.at("family").get<std::string>();
  if (family == "f09_range_learning")
    return json.at("spec").at("input_dtype") != "fp32" || json.at("spec").at("mapping") != "SYMMETRIC";
  return family == "f07_float8" || family == "f08_mx" || family == "f08_nvfp4";
}

struct Tally {
  int cases = 0, failed_cases = 0, roles = 0, exact = 0, bounded = 0, excused = 0, overflowed = 0, failed = 0;
  double worst = 0;
};

void run_case(const Json& json, const Folder& folder, Tally& tally) {
  Case c(json, folder);
  const Runner run = runner_of(c.family(), c.id());
  try {
    QAT_CHECK(run != nullptr, kUnsupported, "unknown family ", c.family());
    run(c);
    c.finish();
  } catch (const std::exception& error) {
    c.fail(error.what());
  }
  ++tally.cases;
  tally.failed_cases += c.failed();
  tally.roles += c.compared_roles();
  tally.exact += c.exact_roles();
  tally.bounded += c.bounded_roles();
  (c.flag("nonfinite") || c.flag("upstream_defect") ? tally.excused : tally.overflowed) += c.excused_roles();
  tally.failed += static_cast<int>(c.failures().size());
  tally.worst = std::max(tally.worst, c.worst_ratio());
  for (const std::string& failure : c.failures())
    std::printf("FAILED: %s: %s; spec %s\n", c.id().c_str(), failure.c_str(), c.spec_text().c_str());
}

/// A checkpoint of one of the architectures with recorded results: one case.
Totals run_checkpoint(const std::string& folder) {
  const RecordDifferences d = compare_with_record(CpuBackend::shared(), folder);
  const auto line = [](const char* what, double found, double bound) {
    std::printf("  %s %.2g (bound %.0e)%s\n", what, found, bound, found < bound ? "" : ": FAILED");
  };
  line("logits differ by", d.logits, RecordDifferences::kLogits);
  line("loss differs by", d.loss, RecordDifferences::kLoss);
  line("gradient norms differ by, relative,", d.gradient_norms, RecordDifferences::kGradientNorms);
  line("gradients differ by, of their norm,", d.gradients, RecordDifferences::kGradients);
  if (!d.within_bounds())
    std::printf("FAILED: %s: beyond a bound; the gradient furthest off is %s\n", folder.c_str(),
                d.worst_gradient.c_str());
  return d.within_bounds() ? Totals{1, 0, 0} : Totals{0, 1, 0};
}

Totals run_folder(const std::string& folder) {
  if (const auto files = tokenizer_files(folder); !files.empty()) return run_tokenizer_folder(folder, files);
  if (is_checkpoint_record(folder)) return run_checkpoint(folder);
  const Json cases = read_json(join_path(folder, "cases.json"));
  const Safetensors tensors = Safetensors::open(join_path(folder, "tensors.safetensors"));
  if (is_ggml_folder(cases)) return run_ggml_folder(cases, tensors);
  QAT_CHECK(cases.is_array(), kBadFile, folder, "/cases.json: is ", json_text(cases), "; accepted: an array of cases");
  std::map<std::string, const Json*> by_id;
  for (const Json& json : cases) {
    const JsonFields fields(json, folder + "/cases.json: a case");
    for (const char* key : {"id", "family", "spec", "tensors", "tolerance"}) (void)fields.at(key);
    QAT_CHECK(by_id.emplace(fields.string("id"), &json).second, kBadFile, folder, "/cases.json: two cases are called ",
              fields.string("id"));
  }
  const Folder context{tensors, by_id};
  std::map<std::string, Tally> tallies;
  std::map<std::string, int> apart;
  for (const Json& json : cases) {
    const std::string family = json.at("family").get<std::string>();
    if (family == "meta" || family == "unavailable" || not_yet(json))
      ++apart[family];
    else
      run_case(json, context, tallies[family]);
  }
  Totals totals;
  for (const auto& [family, t] : tallies) {
    std::printf("%s: %d cases, %d of %d roles bit-exact, %d within bound, %d failed", family.c_str(), t.cases, t.exact,
                t.roles, t.bounded, t.failed);
    if (t.excused > 0) std::printf(", %d excused", t.excused);
    if (t.overflowed > 0) std::printf(", %d overflowed", t.overflowed);
    if (t.bounded > 0) std::printf(" (largest difference %.2g of its bound)", t.worst);
    std::printf("\n");
    totals.failed += t.failed_cases;
    totals.passed += t.cases - t.failed_cases;
  }
  for (const auto& [family, count] : apart) {
    std::printf("%s: %d cases, %s\n", family.c_str(), count,
                family == "meta" || family == "unavailable" ? "nothing to compare" : "not yet");
    if (family != "meta") totals.skipped += count;
  }
  if (tallies.empty()) {
    std::printf("FAILED: %s: no case ran\n", folder.c_str());
    ++totals.failed;
  }
  return totals;
}

}  // namespace
}  // namespace qat::golden

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr,
                 "usage: qat-golden DIR...   (each with cases.json and tensors.safetensors, ids of tokenizers, or a "
                 "checkpoint with its expected.safetensors)\n");
    return 2;
  }
  qat::golden::Totals sum;
  try {
    for (int i = 1; i < argc; ++i) {
      std::printf("== %s\n", argv[i]);
      const qat::golden::Totals totals = qat::golden::run_folder(argv[i]);
      sum.passed += totals.passed;
      sum.failed += totals.failed;
      sum.skipped += totals.skipped;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "qat-golden: %s\n", error.what());
    return 2;
  }
  std::printf("[qat-test] %d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped);
  return sum.failed != 0 || sum.passed == 0 ? 1 : 0;
}
