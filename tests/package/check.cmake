# Script mode: installs the build into a fresh prefix, then configures, builds and runs the consumer
# project in this folder against it.
#   cmake -DBUILD_DIR=... -DWORK_DIR=... -DGENERATOR=... -DCOMPILER=... -DBUILD_TYPE=... -DVERSION=... -P check.cmake
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} OUTPUT_VARIABLE output ERROR_VARIABLE output
                  RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "failed (${result}): ${command}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(prefix "${WORK_DIR}/prefix")
set(consumer "${WORK_DIR}/consumer")
file(REMOVE_RECURSE "${WORK_DIR}")

run("${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${prefix}" --config "${BUILD_TYPE}")
run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${consumer}" -G "${GENERATOR}"
    "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
    "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}")
run("${CMAKE_COMMAND}" --build "${consumer}" --config "${BUILD_TYPE}")
run("${consumer}/consumer")
if(NOT output STREQUAL "${VERSION}\n")
  message(FATAL_ERROR "the consumer printed '${output}', not the version ${VERSION}")
endif()

file(GLOB tools "${prefix}/bin/*")
foreach(tool IN LISTS tools)
  run("${tool}" --version)
endforeach()
foreach(document LICENSE README.md CHANGES_LOG.md)
  if(NOT EXISTS "${prefix}/share/doc/isoflop/${document}")
    message(FATAL_ERROR "${document} is not installed")
  endif()
endforeach()
