#include "train_help.hpp"

#include <string>
#include <vector>

namespace isoflop::tools {
namespace {

std::vector<text::CommandHelp> pages() {
    return {{"prepare-data",
             "--input TEXT --out FOLDER [options]",
             {"--input", "--out", "--tokenizer", "--val-fraction"},
             {"train prepare-data --input book.txt --out data/book",
              "train prepare-data --input texts/ --tokenizer char --out data/texts"}},
            {"sample",
             "--checkpoint RUN [options]",
             {"--checkpoint", "--prompt", "--tokens", "--temperature", "--top-k", "--seed"},
             {"train sample --checkpoint out/RUN --prompt \"To be\" --tokens 200"}},
            {"export",
             "--checkpoint RUN --out FOLDER [options]",
             {"--checkpoint", "--out", "--dtype"},
             {"train export --checkpoint out/RUN --out exported"}},
            {"import",
             "FOLDER --out RUN",
             {"--out"},
             {"train import HUGGING_FACE_FOLDER --out out/imported"}},
            {"compare",
             "[RUN...] [options]",
             {"--latest", "--out_dir", "--json"},
             {"train compare", "train compare out/first out/second", "train compare out/*"}},
            {"compare-attention",
             "[CONFIG] [options]",
             {"--shape", "--repeats", "--html", "--json", "--set"},
             {"train compare-attention --shape 8,1024,16,16,64 --html attention.html",
              "train compare-attention configs/train/arch_llama.jsonc --device=cpu"}}};
}

}  // namespace

text::HelpPage help_page(const CLI::App& command, const std::string& name) {
    return text::command_page(command, "train", name, pages(), "options");
}

text::HelpPage help_page(const CLI::App& run, std::vector<text::HelpRow> commands) {
    text::HelpPage page;
    page.usage = "train CONFIG [--KEY=VALUE]... [options]";
    page.about = run.get_description();
    page.commands = std::move(commands);
    page.options = text::option_rows(run, {"--dry-run", "--nproc-per-node"});
    page.options.push_back({"--doctor, --version", "This build and this machine"});
    page.examples = {"train configs/train/arch_llama.jsonc --max_iters=100",
                     "train configs/train/arch_llama.jsonc --batch_size=4 --dry-run",
                     "train --nproc-per-node 4 configs/train/arch_llama.jsonc"};
    page.more =
        "Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 data, checkpoint or "
        "disk, 4 lost rank or communication timeout, 5 does not fit in memory, 6 diverged.\n"
        "All options and config keys: train --help-all";
    return page;
}

}  // namespace isoflop::tools
