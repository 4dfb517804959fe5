// `train --doctor`: what this build has, what this machine has, and what each absence disables.
#pragma once

#include <string>

#include "isoflop/device/context.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::trainer {

[[nodiscard]] std::string doctor_text(device::Context& context, text::Colour colour);
/// One line for --version: "cpu, own (avx512), SentencePiece, ...".
[[nodiscard]] std::string build_features();

}  // namespace isoflop::trainer
