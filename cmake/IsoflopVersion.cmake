# Version text from the project version and, in a git checkout, the commit.
set(ISOFLOP_COMMIT "unknown")
find_package(Git QUIET)
if(Git_FOUND)
  execute_process(COMMAND "${GIT_EXECUTABLE}" rev-parse --short=12 HEAD
                  WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
                  OUTPUT_VARIABLE git_commit OUTPUT_STRIP_TRAILING_WHITESPACE
                  ERROR_QUIET RESULT_VARIABLE git_result)
  if(git_result EQUAL 0)
    set(ISOFLOP_COMMIT "${git_commit}")
  endif()
endif()
set(ISOFLOP_BUILT_CUDA "")
if(ISOFLOP_HAVE_CUDA)
  set(ISOFLOP_BUILT_CUDA "${CUDAToolkit_VERSION}")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/version.cpp.in"
               "${PROJECT_BINARY_DIR}/generated/version.cpp" @ONLY)
