// Prints the version of the installed library; fails when the shipped configurations are not there.
#include <filesystem>
#include <iostream>

#include "isoflop/base/version.hpp"

int main() {
    if (!std::filesystem::is_directory(CONFIGS_DIR)) return 1;
    std::cout << isoflop::version() << '\n';
}
