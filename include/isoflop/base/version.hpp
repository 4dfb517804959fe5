// Identification of this build, for `--version` and for run logs.
#pragma once

#include <string_view>

namespace isoflop {

[[nodiscard]] std::string_view version();     ///< "0.1.0"
[[nodiscard]] std::string_view commit();      ///< short git hash, or "unknown"
[[nodiscard]] std::string_view compiler();    ///< "GNU 12.2.0"
[[nodiscard]] std::string_view build_type();  ///< "Release"
/// Of the CUDA toolkit, "13.0.88"; empty in a build for CPUs.
[[nodiscard]] std::string_view cuda_version();

}  // namespace isoflop
