# ISOFLOP_PLAN_LAYERS and ISOFLOP_TRAIN_LAYERS, from the lowest up, as cmake/layers.txt lists them.
# The libraries (src/), their test programs (tests/) and the fuzzers are made from these two lists.
# A layer without sources or without tests is left out. isoflop_plan is pure C++20, without threads,
# CUDA and MPI; isoflop_train is everything that runs a plan.
set(ISOFLOP_PLAN_LAYERS "")
set(ISOFLOP_TRAIN_LAYERS "")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/layers.txt")
file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/layers.txt" layer_lines REGEX "^(both|plan|train) ")
foreach(line IN LISTS layer_lines)
  if(line MATCHES "^(both|plan) +[0-9]+ +([a-z0-9_]+) ")
    list(PREPEND ISOFLOP_PLAN_LAYERS ${CMAKE_MATCH_2})
  elseif(line MATCHES "^train +[0-9]+ +([a-z0-9_]+) ")
    list(PREPEND ISOFLOP_TRAIN_LAYERS ${CMAKE_MATCH_1})
  endif()
endforeach()
