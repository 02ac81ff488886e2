// qat-llm: evaluate, train, quantize and run Llama models. `qat-llm --help` and `qat-llm VERB --help` say how.
#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>

#include "completion.hpp"
#include "demo_verb.hpp"
#include "diff_verb.hpp"
#include "eval_verb.hpp"
#include "export_verb.hpp"
#include "generate_verb.hpp"
#include "heal_verb.hpp"
#include "import_verb.hpp"
#include "inspect_verb.hpp"
#include "logits_verb.hpp"
#include "quantize_verb.hpp"
#include "recipe_verb.hpp"
#include "report_verb.hpp"
#include "stability_verb.hpp"
#include "train_verb.hpp"

namespace {

struct Verbs {
  qat_llm::EvalVerb eval;
  qat_llm::TrainVerb train;
  qat_llm::QuantizeVerb quantize;
  qat_llm::GenerateVerb generate;
  qat_llm::ExportVerb export_;
  qat_llm::ImportVerb import_;
  qat_llm::InspectVerb inspect;
  qat_llm::DiffVerb diff;
  qat_llm::StabilityVerb stability;
  qat_llm::HealVerb heal;
  qat_llm::RecipeVerb recipe;
  qat_llm::ReportVerb report;
  qat_llm::DemoVerb demo;
  qat_llm::CompletionVerb completion;
  qat_llm::ResidentVerb resident;
  qat_llm::LogitsVerb logits;

  void add_to(CLI::App& app) {
    eval.add_to(app);
    train.add_to(app);
    quantize.add_to(app);
    generate.add_to(app);
    export_.add_to(app);
    import_.add_to(app);
    inspect.add_to(app);
    diff.add_to(app);
    stability.add_to(app);
    heal.add_to(app);
    recipe.add_to(app);
    report.add_to(app);
    demo.add_to(app);
    completion.add_to(app);
    resident.add_to(app);
    logits.add_to(app);
  }
};

/// Parses and runs: a verb is the callback of its subcommand.
int run(int argc, char** argv) {
  CLI::App app("Evaluate, train, quantize and run Llama models with qat", "qat-llm");
  app.require_subcommand(1);
  app.footer(
      "Schemes: 8da4w, int4_weight_only, tinygemm, qat4, qat4a8 and their 2..8-bit siblings, with :groupG or :axis0;\n"
      "gguf:q4_0 (q4_1, q5_0, q8_0, iq4_nl, mxfp4, tq1_0, tq2_0): what llama.cpp runs as it was trained,\n"
      "gguf:q4_0+q8_0 (q4_1+q8_1, tq1_0+q8_k, tq2_0+q8_k) with its 8-bit activations;\n"
      "or weight=SPEC[,activation=SPEC] with SPEC such as int4:group32:symmetric or int8:token:asymmetric.\n"
      "Exit codes: 0 done; 2 bad input: one line on stderr says what was found and what is accepted; 3 blocks differ\n"
      "(stability); 128 + N a run "
      "that signal N\n"
      "interrupted (130: Ctrl-C); 1 anything else.");
  Verbs verbs;
  verbs.add_to(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that outgrows its limit is an error with a name, not the end of the program
  try {
    return run(argc, argv);
  } catch (const qat_llm::Interrupted& interrupted) {
    return 128 + interrupted.number;
  } catch (const qat_llm::BlocksDiffer&) {
    return 3;
  } catch (const qat::Error& e) {
    std::fprintf(stderr, "qat-llm: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "qat-llm: %s\n", e.what());
    return 1;
  }
}
