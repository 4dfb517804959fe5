#include "simt_emulator/options.hpp"

namespace isoflop::emulator {
namespace {

thread_local Session* innermost = nullptr;

void add_to(MemoryCount& sum, const MemoryCount& more) {
    sum.requests += more.requests;
    sum.bytes += more.bytes;
    sum.sectors += more.sectors;
}

void add_to(SharedCount& sum, const SharedCount& more) {
    sum.requests += more.requests;
    sum.bytes += more.bytes;
    sum.wavefronts += more.wavefronts;
    sum.extra_wavefronts += more.extra_wavefronts;
}

}  // namespace

Session::Session(const Options& options) : options_(options), outer_(innermost) {
    innermost = this;
}

Session::~Session() {
    innermost = outer_;
}

Session* Session::current() {
    return innermost;
}

void Session::add(const Counters& counters) {
    add_to(counters_.global_load, counters.global_load);
    add_to(counters_.global_store, counters.global_store);
    add_to(counters_.global_atomic, counters.global_atomic);
    add_to(counters_.shared_load, counters.shared_load);
    add_to(counters_.shared_store, counters.shared_store);
    add_to(counters_.shared_atomic, counters.shared_atomic);
    counters_.matrix_products += counters.matrix_products;
    counters_.block_barriers += counters.block_barriers;
    counters_.warp_barriers += counters.warp_barriers;
}

}  // namespace isoflop::emulator
