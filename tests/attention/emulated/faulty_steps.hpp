// Steps of kernels done wrong, and what finds that: the emulator or the result.
#pragma once

#include "attention/emulated/half_problem.hpp"
#include "attention/tensor_cores/fragments.hpp"

namespace isoflop::test {

using RightSteps = attention::tensor_cores::Steps;

struct NoWait : RightSteps {
    template <class StartNext>
    static void advance(const StartNext& start_next) {
        simt::sync_threads();
        start_next();
        simt::cp_async_commit();
    }
};
struct NoBarrierBeforeRead : RightSteps {
    template <class StartNext>
    static void advance(const StartNext& start_next) {
        simt::sync_threads();
        simt::cp_async_wait_all();  // each thread for its own copies only
        start_next();
        simt::cp_async_commit();
    }
};
struct NoBarrierBeforeOverwrite : RightSteps {
    template <class StartNext>
    static void advance(const StartNext& start_next) {
        simt::cp_async_wait_all();
        start_next();
        simt::cp_async_commit();
        simt::sync_threads();
    }
};
struct MaskOffByOne : RightSteps {
    static int causal_limit(int query, int keys_before_first_query) {
        return query + 2 + keys_before_first_query;
    }
};
struct MaskWithoutLengthDifference : RightSteps {
    static int causal_limit(int query, int) { return query + 1; }
};
struct SwappedLanes : RightSteps {
    template <class Tile>
    static void load_b(std::uint32_t (&b)[4], const simt::Shared<typename Tile::Element>& tile,
                       int row, int step) {
        const int lane = simt::lane_index();
        simt::ldmatrix(b, Tile::lane_address(tile, row, (lane & 7) + 8 * (lane >> 3 & 1), 2 * step,
                                             lane >> 4));
    }
};
struct NotTransposed : RightSteps {
    template <class Tile>
    static void load_b_transposed(std::uint32_t (&b)[4],
                                  const simt::Shared<typename Tile::Element>& tile, int row,
                                  int step) {
        const int lane = simt::lane_index();
        simt::ldmatrix(b, Tile::lane_address(tile, row, lane & 15, 2 * step, lane >> 4));
    }
};
struct InterleavedHeads : RightSteps {
    static int kv_head(int head, int heads_per_kv_head) { return head % heads_per_kv_head; }
    static int first_head(int kv_head, int) { return kv_head; }
};
struct NoExchange : RightSteps {
    static void exchange() {}
};
struct NoWaitForOwnCopies : RightSteps {
    static void arrive() { simt::sync_warp(); }
};

/// "" if nothing is found.
template <class Run>
std::string found_by_running(const Shape& shape, const emulator::Options& options, const Run& run) {
    static const Reference reference{HalfProblem<simt::Bfloat16>(shape).exact};
    HalfProblem<simt::Bfloat16> p(shape);
    const emulator::Outcome outcome = emulator::outcome_of(options, [&] { run(p); });
    if (outcome.kind.has_value()) return outcome.message;
    p.read_results();
    const auto differs = [](const Tensor<double>& a, const Tensor<double>& b) {
        return !(relative_error(a.values(), b.values()) <= 4e-3);
    };
    if (differs(p.exact.o, reference.o)) return "o";
    if (differs(p.exact.d_q, reference.d_q)) return "d_q";
    if (differs(p.exact.d_k, reference.d_k)) return "d_k";
    if (differs(p.exact.d_v, reference.d_v)) return "d_v";
    return "";
}

}  // namespace isoflop::test
