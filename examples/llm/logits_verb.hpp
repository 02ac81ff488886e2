// The logits of a model for given tokens, for comparing with other programs: a verb that the help does not show.
#pragma once

#include <CLI/CLI.hpp>
#include <sstream>

#include "session.hpp"

namespace qat_llm {

struct LogitsVerb {
  std::string model, tokens, out;
  int threads = 0;

  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("logits", "write the logits after each token")->group("");
    verb->add_option("--model", model)->required();
    verb->add_option("--tokens", tokens, "file of token ids between white space: one sequence a line")->required();
    verb->add_option("--out", out, "file for F32 (tokens, vocabulary), lines one after the other")->required();
    verb->add_option("--threads", threads);
    verb->callback([this] { run(); });
  }

  void run() {
    const CpuBackend backend(threads);
    nn::Transformer network = Checkpoint(model).model();
    std::istringstream lines{std::string(MappedFile(tokens).text())};
    AtomicFileWriter writer(out);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::vector<std::int32_t> ids;
      for (std::int32_t id; words >> id;) ids.push_back(id);
      QAT_CHECK(words.eof(), kBadFile, tokens, ": has ", printable(line), "; accepted: token ids");
      if (ids.empty()) continue;
      const Tensor<float> logits =
          network.forward(backend, view<const std::int32_t>(ids.data(), static_cast<index_t>(ids.size())), 1);
      writer.write(logits.data(), static_cast<std::size_t>(logits.size_bytes()));
    }
    writer.commit();
  }
};

}  // namespace qat_llm
