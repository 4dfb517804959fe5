# The layers of the project, from the lowest up. The libraries (src/), their test programs (tests/) and the fuzzers are
# made from these two lists, and the include check reads them: a new layer is one line here, include/isoflop/<layer>/,
# src/<layer>/ and tests/<layer>/. A layer without sources or without tests is left out.

# isoflop_plan: pure C++20, without threads, CUDA and MPI.
set(ISOFLOP_PLAN_LAYERS
  base
  config
  hardware
  model
  cost
  scaling_law
  planner
  report
)

# isoflop_train: everything that runs a plan.
set(ISOFLOP_TRAIN_LAYERS
  device
  comm
  ops
  attention
  transformer
  sharding
  data
  checkpoint
  trainer
)
