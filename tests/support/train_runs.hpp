// Training runs to test with, from overrides of keys.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "isoflop/attention_lab/attention_choice.hpp"
#include "isoflop/machine/this_machine.hpp"

namespace isoflop::test {

using Overrides = std::vector<std::string>;

inline recipe::Recipe config_of(const Overrides& overrides, std::int64_t world_size = 1) {
    return machine::recipe_here(recipe::train_keys_from(overrides), world_size);
}

inline recipe::RunPlan plan_of(const Overrides& overrides, std::int64_t world_size = 1) {
    return attention_lab::plan_with_attention(config_of(overrides, world_size));
}

/// Two layers of 32 on the built-in corpus, and the given overrides.
inline Overrides tiny_run(Overrides more = {}) {
    Overrides all = {"n_layer=2",     "n_head=4",       "n_embd=32",      "vocab_size=257",
                     "block_size=16", "batch_size=2",   "warmup_iters=0", "max_iters=8",
                     "min_lr=0",      "eval_interval=0"};
    all.insert(all.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
    return all;
}

}  // namespace isoflop::test
