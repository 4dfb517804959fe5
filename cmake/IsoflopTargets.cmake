# Compile settings shared by every target of ours. They are set per target, never globally, so that
# the libraries of the distribution keep linking in every kind of build.

set(ISOFLOP_SANITIZE "" CACHE STRING
    "Sanitizers to build with, as for -fsanitize: address,undefined or thread")
option(ISOFLOP_COVERAGE "Instrument for coverage (gcov)" OFF)

function(isoflop_set_warnings target)
  # What nvcc hands to the host compiler has line markers that -Wpedantic refuses.
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wconversion;-Wshadow;-Wpedantic>"
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 reports string concatenation as overlapping copies (GCC bug 105651).
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wno-restrict>)
  endif()
  if(ISOFLOP_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-Werror> "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
  endif()
endfunction()

# The link options are public: a program that links an instrumented static library needs its
# runtime.
function(isoflop_set_instrumentation target)
  if(ISOFLOP_SANITIZE)
    set(options "-fsanitize=${ISOFLOP_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer
      $<$<CONFIG:Debug>:-O1>
      # GCC documents false positives of this warning under sanitizers.
      $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${options}>")
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
    target_link_options(${target} PUBLIC "-fsanitize=${ISOFLOP_SANITIZE}")
  endif()
  if(ISOFLOP_COVERAGE)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:--coverage>)
    target_link_options(${target} PUBLIC --coverage)
  endif()
endfunction()

option(ISOFLOP_PRECOMPILED_HEADERS "Parse headers of the standard library and of other projects once per target" ON)

# isoflop_precompile(<target> <header>...): parsing these headers takes longer than compiling most
# of our sources. Every source still includes what it uses: clang-tidy reads src and tools without
# them (tools/tidy.py), and a build with ISOFLOP_PRECOMPILED_HEADERS=OFF shows what is missing in
# the tests too.
function(isoflop_precompile target)
  if(ISOFLOP_PRECOMPILED_HEADERS)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()

function(isoflop_configure_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  # Not as CUDA_STANDARD: CMake 3.25 does not know that nvcc has C++20.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  isoflop_set_warnings(${target})
  isoflop_set_instrumentation(${target})
endfunction()
