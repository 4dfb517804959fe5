// The commands of scaling-plan: each takes parsed options, calls the library and returns what to
// print.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/text/text_report.hpp"

namespace isoflop::tools {

/// One --over of a sweep, or a --with, which moves with the --over before it.
struct SweepOption {
    bool with = false;
    std::string text;
};

/// Options shared by the commands; each uses what concerns it.
struct Options {
    std::vector<std::string> files;
    std::vector<std::string> overrides;        ///< "key=value"
    std::vector<SweepOption> sweep_axes;       ///< in the order of the command line
    std::optional<std::string> csv = {};       ///< file to write, "-" for standard output
    std::optional<std::string> markdown = {};  ///< the same
    std::string gpu_table;                     ///< empty: the built-in table
    std::string compat;                        ///< empty or "dsc180_a06"
    std::string convention = "exact";
    std::string memory_model = "isoflop";
    std::optional<std::string> emit_train_config = {};  ///< file to write, "-" for standard output
    std::optional<std::string> emit_plan = {};          ///< the same, for the advised plan
    std::optional<std::string> plot = {};               ///< the same, for an SVG picture
    std::string subject;  ///< of schema: "plan", "model" or "markdown"
    bool json = false;
    bool quiet = false;
    bool all_conventions = false;
    text::Colour colour = text::Colour::off;
    std::optional<std::size_t> width = {};  ///< columns of the terminal
};

struct Result {
    std::string output;                 ///< for standard output
    std::vector<std::string> warnings;  ///< for standard error
    int exit_code = 0;
};

[[nodiscard]] Result run_backward(const Options& options);
[[nodiscard]] Result run_model(const Options& options);
[[nodiscard]] Result run_laws(const Options& options);
[[nodiscard]] Result run_gpus(const Options& options);
[[nodiscard]] Result run_types(const Options& options);
[[nodiscard]] Result run_validate(const Options& options);
[[nodiscard]] Result run_compare(const Options& options);
[[nodiscard]] Result run_sweep(const Options& options);
[[nodiscard]] Result run_schema(const Options& options);

/// True for every key that a plan or model config may have, full path or unambiguous.
[[nodiscard]] bool is_config_key(std::string_view key);
/// Those keys, for spelling suggestions.
[[nodiscard]] std::vector<std::string> config_keys();
/// "Config keys" part of a command's help.
[[nodiscard]] std::string config_help(std::string_view command);

}  // namespace isoflop::tools
