# Turns a text file into a C++ source that defines `const std::string_view <variable>`, so that the
# shipped table is also the compiled-in default and the two cannot differ.
#
#   isoflop_embed_text(<target> <text file> <variable> NAMESPACE isoflop::hardware)

function(isoflop_embed_text target input variable)
  cmake_parse_arguments(ARG "" "NAMESPACE" "" ${ARGN})
  set(output "${CMAKE_CURRENT_BINARY_DIR}/embedded/${variable}.cpp")
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" -DINPUT=${input} -DOUTPUT=${output} -DVARIABLE=${variable}
            -DNAMESPACE=${ARG_NAMESPACE} -P "${PROJECT_SOURCE_DIR}/cmake/embed_text.cmake"
    DEPENDS "${input}" "${PROJECT_SOURCE_DIR}/cmake/embed_text.cmake"
    COMMENT "Embedding ${variable}"
    VERBATIM)
  target_sources(${target} PRIVATE "${output}")
endfunction()
