// The vocabulary of kernels for a host compiler, under the name by which simt.hpp includes it.
#pragma once

#include "simt_emulator/simt_host.hpp"
