#!/usr/bin/env bash
# Installs what building and testing need on Debian 12 and Ubuntu 24.04. Does nothing when all of it
# is there. Where it may not install, it prints the line that does; on other systems it says
# what is needed. Both succeed when CMake finds everything.
#
#   tools/setup.sh [--dev]      --dev adds clang, clang-format and clang-tidy, which CI uses
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

packages=(g++ cmake ninja-build ccache git libcli11-dev libfmt-dev libspdlog-dev nlohmann-json3-dev
    libgtest-dev libgmock-dev libbenchmark-dev python3)
# Optional packages: a system that lacks one still gets the remaining packages.
optional_packages=(
    pkg-config libsentencepiece-dev  # SentencePiece tokenizers
    libgloo-dev                      # training on several processes
    libopenmpi-dev openmpi-bin       # mpirun on several machines without MASTER_ADDR
    libboost-context-dev)            # faster emulation of CUDA kernels in tests

# clang's runtime library (sanitizers, libFuzzer) has to match the clang of the distribution.
dev_packages() {
    local system=""
    if [[ -r /etc/os-release ]]; then
        # shellcheck source=/dev/null
        system="$(source /etc/os-release && printf '%s' "${ID:-} ${VERSION_ID:-}")"
    fi
    case $system in
        "debian 12") echo clang-format-14 clang-tidy-14 clang libclang-rt-14-dev ;;
        "ubuntu 24.04") echo clang-format-14 clang-tidy clang libclang-rt-18-dev ;;
        *) echo clang-format clang-tidy clang ;;
    esac
}

# missing_packages NAME...: those that dpkg does not know as installed.
missing_packages() {
    local package
    for package in "$@"; do
        if [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
            echo "$package"
        fi
    done
}

# Succeeds for root, and where sudo works: asked once, and for a password in a terminal only.
may_install() {
    if [[ $(id -u) -eq 0 ]]; then return; fi
    have sudo || return 1
    sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }
}

# install_line NAME...: what somebody who may install has to run.
install_line() { printf '  sudo apt-get install -y %s\n' "$*"; }

# apt_install NAME...
apt_install() {
    local as_root=()
    if [[ $(id -u) -ne 0 ]]; then as_root=(sudo); fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -y)
    # A broken package source must not stop the installation; a missing package fails below.
    "${as_root[@]}" update || say "apt-get update failed; trying with the lists at hand" >&2
    "${as_root[@]}" install --no-install-recommends "$@"
}

# Configures an empty project that asks for the same compiler, generator and libraries as ours.
cmake_finds_everything() {
    have cmake && have git && have python3 && have ninja || return 1
    local probe status=0
    probe="$(mktemp -d)"
    cat >"$probe/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
foreach(package fmt spdlog nlohmann_json CLI11 GTest benchmark)
  find_package(${package} REQUIRED)
endforeach()
EOF
    cmake -G Ninja -S "$probe" -B "$probe/build" >"$probe/log" 2>&1 || status=1
    if [[ $status -ne 0 ]]; then grep -A 3 '^CMake Error' "$probe/log" >&2 || true; fi
    rm -rf -- "$probe"
    return $status
}

for argument in "$@"; do
    case $argument in
        --dev) read -ra extra <<<"$(dev_packages)" && packages+=("${extra[@]}") ;;
        -h | --help) print_help && exit 0 ;;
        *) die 2 "unknown option $argument (try --help)" ;;
    esac
done

needed=("${packages[@]}") wanted=() has_apt=0
# Sets needed and wanted to what is missing.
look() {
    mapfile -t needed < <(missing_packages "${packages[@]}")
    mapfile -t wanted < <(missing_packages "${optional_packages[@]}")
}

if have apt-get && have dpkg-query; then
    has_apt=1
    look
    if [[ ${#needed[@]} -eq 0 && ${#wanted[@]} -eq 0 ]]; then exit 0; fi
    if may_install; then
        say "Installing: ${needed[*]} ${wanted[*]}"
        if apt_install "${needed[@]}" "${wanted[@]}"; then exit 0; fi
        for package in "${wanted[@]}"; do
            apt_install "$package" || say "Optional package $package cannot be installed; CMake says what that leaves out."
        done
        if [[ ${#needed[@]} -eq 0 ]] || apt_install "${needed[@]}"; then exit 0; fi
        look
    fi
fi

if [[ $has_apt -eq 1 && ${#needed[@]} -eq 0 ]]; then
    say "Optional packages are missing; CMake says what that leaves out. To install them:"
    install_line "${wanted[@]}"
    exit 0
fi
if cmake_finds_everything; then
    say "Packages not managed here, but CMake finds everything that the build needs."
    exit 0
fi
if [[ $has_apt -eq 1 ]]; then
    die 2 "packages are missing. Install them, then start this again:" \
        $'\n'"$(install_line "${needed[@]}" "${wanted[@]}")"
fi
die 2 "cannot install packages on this system. Needed are a C++20 compiler (g++ 12 or clang 14 and up)," \
    "CMake 3.25 or newer, and what Debian calls: ${needed[*]}"
