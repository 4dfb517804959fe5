#include "scaling_plan_help.hpp"

#include <string>
#include <vector>

namespace isoflop::tools {
namespace {

std::vector<text::CommandHelp> pages() {
    const std::string keys = "[--KEY=VALUE]... [options]";
    return {
        {"backward",
         "FILE " + keys,
         {"--set", "--emit-plan", "--emit-train-config", "--plot", "--json", "--quiet"},
         {"scaling-plan backward configs/plan/hoffmann.jsonc",
          "scaling-plan backward configs/plan/hoffmann.jsonc --num_gpus=64 --json",
          "scaling-plan backward configs/plan/flash.jsonc --emit-train-config t.jsonc"}},
        {"model",
         "FILE " + keys,
         {"--set", "--all-conventions", "--json", "--quiet"},
         {"scaling-plan model configs/models/llama3_8b.jsonc --sequence_length=8192",
          "scaling-plan model configs/models/llama3_8b.jsonc --gpu_type=H100",
          "scaling-plan model configs/train/arch_llama.jsonc --json"}},
        {"compare",
         "FILE... " + keys,
         {"--set", "--csv", "--markdown", "--json"},
         {"scaling-plan compare configs/plan/hoffmann.jsonc configs/plan/flash.jsonc",
          "scaling-plan compare configs/plan/*.jsonc --num_gpus=64"}},
        {"sweep",
         "FILE --over KEY=VALUES... [options]",
         {"--over", "--with", "--set", "--csv", "--markdown", "--json"},
         {"scaling-plan sweep --over num_gpus=8,16,32 configs/plan/auto.jsonc",
          "scaling-plan sweep --over available_hours=24..72:24 configs/plan/auto.jsonc"}},
        {"laws", "[--json]", {"--json"}, {"scaling-plan laws", "scaling-plan laws --json"}},
        {"gpus",
         "[options]",
         {"--gpu-table", "--json"},
         {"scaling-plan gpus", "scaling-plan gpus --json"}},
        {"types",
         "[options]",
         {"--markdown", "--json"},
         {"scaling-plan types", "scaling-plan types --json"}},
        {"validate",
         "[options]",
         {"--quiet", "--json"},
         {"scaling-plan validate", "scaling-plan validate --quiet"}},
        {"schema", "SUBJECT", {}, {"scaling-plan schema plan", "scaling-plan schema markdown"}}};
}

}  // namespace

text::HelpPage help_page(const CLI::App& command) {
    return text::command_page(command, "scaling-plan", command.get_name(), pages(),
                              "options and config keys");
}

text::HelpPage help_page(std::vector<text::HelpRow> commands) {
    text::HelpPage page;
    page.usage = "scaling-plan COMMAND [arguments]";
    page.about = "Plans a language-model training run: N, D, C, memory per GPU and predicted loss.";
    page.commands = std::move(commands);
    page.options = {{"--version, --doctor", "This build, and the GPU libraries of this machine"}};
    page.examples = {"scaling-plan backward configs/plan/auto.jsonc",
                     "scaling-plan model configs/models/llama3_8b.jsonc",
                     "scaling-plan sweep --help"};
    page.more =
        "Exit codes: 0 done (a plan that does not fit is still an answer), 1 a check failed, 2 "
        "usage or configuration, 3 input or output.\n"
        "All options of all commands: scaling-plan --help-all";
    return page;
}

}  // namespace isoflop::tools
