// Shell completion, made from the program's own description of its verbs and options.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace qat_llm {

/// A bash function for `complete`: verbs first, then the verb's options; files everywhere else.
inline std::string bash_completion(CLI::App& app) {
  const auto names_of = [](const CLI::App* verb) {
    std::string names;
    for (const CLI::Option* option : verb->get_options())
      for (const std::string& name : option->get_lnames()) names += (names.empty() ? "--" : " --") + name;
    return names;
  };
  std::string verbs, cases;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App* verb) { return !verb->get_group().empty(); })) {
    verbs += (verbs.empty() ? "" : " ") + verb->get_name();
    cases += "    " + verb->get_name() + ") words=\"" + names_of(verb) + "\" ;;\n";
  }
  return "# bash completion for qat-llm: source <(qat-llm completion bash)\n"
         "_qat_llm() {\n"
         "  local words=\"\" word=\"${COMP_WORDS[COMP_CWORD]}\"\n"
         "  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    COMPREPLY=($(compgen -W \"" +
         verbs + " " + names_of(&app) +
         "\" -- \"$word\"))\n"
         "    return\n"
         "  fi\n"
         "  case \"${COMP_WORDS[1]}\" in\n" +
         cases +
         "  esac\n"
         "  case \"$word\" in -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;; esac\n"
         "}\n"
         "complete -o default -F _qat_llm qat-llm\n";
}

struct CompletionVerb {
  std::string shell;
  void add_to(CLI::App& app) {
    CLI::App* verb = app.add_subcommand("completion", "print a completion script for a shell");
    verb->add_option("shell", shell, "bash")->required()->check(CLI::IsMember({"bash"}));
    verb->footer("Example:\n  source <(qat-llm completion bash)");
    verb->callback([&app] { std::fputs(bash_completion(app).c_str(), stdout); });
  }
};

}  // namespace qat_llm
