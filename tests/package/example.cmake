# Script mode: installs the build into a fresh prefix, builds the installed example of the library
# against it, and uses the installed tools as a user does.
#   cmake -DSOURCE_DIR=... -DBUILD_DIR=... -DWORK_DIR=... -DGENERATOR=... -DCOMPILER=... -DBUILD_TYPE=... -P example.cmake
cmake_minimum_required(VERSION 3.25)

# run(<exit code> <command>...): sets output.
function(run code)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result
                  WORKING_DIRECTORY "${WORK_DIR}")
  if(NOT result EQUAL code)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${result} instead of ${code}: ${command}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

# expect(<text>): in the output of the last run.
function(expect text)
  string(FIND "${output}" "${text}" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "'${text}' is not in:\n${output}")
  endif()
endfunction()

set(prefix "${WORK_DIR}/prefix")
file(REMOVE_RECURSE "${WORK_DIR}")
file(MAKE_DIRECTORY "${WORK_DIR}")
run(0 "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${prefix}" --config "${BUILD_TYPE}")
set(share "${prefix}/share/isoflop")

# --- The example of the library, where it is installed.
run(0 "${CMAKE_COMMAND}" -S "${share}/examples/library" -B "${WORK_DIR}/example" -G "${GENERATOR}"
    "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}")
run(0 "${CMAKE_COMMAND}" --build "${WORK_DIR}/example" --config "${BUILD_TYPE}")
run(0 "${WORK_DIR}/example/plan_a_run")
expect("6.89B parameters, 99.5B tokens, 168 hours")
expect("fits")
set(shown "${output}")
run(0 "${WORK_DIR}/example/plan_a_run" num_gpus=32)
expect("199.0B tokens")
run(2 "${WORK_DIR}/example/plan_a_run" gpu_type=abacus)
expect("abacus")

# The page of the library shows the same files, and what the program prints.
file(READ "${SOURCE_DIR}/docs/library.md" page)
string(FIND "${page}" "\n${shown}```\n" place)
if(place EQUAL -1)
  message(FATAL_ERROR "docs/library.md does not show what the example prints:\n${shown}")
endif()
foreach(file CMakeLists.txt plan_a_run.cpp)
  file(READ "${SOURCE_DIR}/examples/library/${file}" text)
  string(FIND "${page}" "\n${text}```\n" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "docs/library.md does not show examples/library/${file} as it is")
  endif()
endforeach()

# --- Both tools stand beside each other, and the shipped configurations work from any folder.
run(0 "${prefix}/bin/scaling-plan" backward "${share}/configs/plan/auto.jsonc" --quiet)
run(0 "${prefix}/bin/train" "${share}/configs/train/arch_llama.jsonc" --max_iters=2 --eval_interval=0 --run_name=two)
if(NOT EXISTS "${WORK_DIR}/out/two/latest")
  message(FATAL_ERROR "the installed train has left no checkpoint:\n${output}")
endif()
# What the built train says of MPI, the installed one says too, by the installed plug-in.
run(0 "${BUILD_DIR}/tools/train" --version)
string(REGEX MATCH "build features: [^\n]*" features "${output}")
run(0 "${CMAKE_COMMAND}" -E env --unset=LD_LIBRARY_PATH "${prefix}/bin/train" --version)
expect("${features}")
if(features MATCHES "MPI " AND NOT EXISTS "${prefix}/${LIBRARY_FOLDER}/libisoflop_mpi.so")
  message(FATAL_ERROR "the plug-in for MPI is not installed")
endif()

# --- The script for SLURM can be run where it is installed.
run(2 "${share}/examples/slurm/train.sbatch")
expect("usage: sbatch train.sbatch")
