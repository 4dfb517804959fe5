// `train --doctor`: the features of this build and machine, and what each missing feature disables.
#pragma once

#include <string>

#include "isoflop/device/context.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::machine {

[[nodiscard]] std::string doctor_text(device::Context& context, text::Colour colour);
/// One line for --version: "cpu, own (avx512), SentencePiece, ...".
[[nodiscard]] std::string build_features();

}  // namespace isoflop::machine
