# What `cmake --install` puts where, and the package that find_package(isoflop) finds:
#
#   find_package(isoflop 0.1 REQUIRED)
#   target_link_libraries(app PRIVATE isoflop::isoflop)   # or isoflop::plan, the planner alone
include(CMakePackageConfigHelpers)

add_library(isoflop INTERFACE)
add_library(isoflop::isoflop ALIAS isoflop)
target_link_libraries(isoflop INTERFACE isoflop_plan isoflop_train)

if(NOT ISOFLOP_INSTALL)
  return()
endif()

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/isoflop")

install(TARGETS isoflop_plan isoflop_train isoflop EXPORT isoflop-targets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
foreach(tool scaling-plan train)
  if(TARGET ${tool})
    install(TARGETS ${tool} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  endif()
endforeach()
# Headers in a folder cuda are for the kernels of the project: they need nvcc or the emulator of the
# tests.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/isoflop"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp" REGEX "/include/isoflop/[a-z_]+/cuda/" EXCLUDE)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/configs" "${PROJECT_SOURCE_DIR}/examples"
        DESTINATION "${CMAKE_INSTALL_DATADIR}/isoflop" USE_SOURCE_PERMISSIONS)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" "${PROJECT_SOURCE_DIR}/README.md"
              "${PROJECT_SOURCE_DIR}/CHANGES_LOG.md"
        DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/docs" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

install(EXPORT isoflop-targets NAMESPACE isoflop:: DESTINATION "${package_dir}")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/isoflop-config.cmake.in"
  "${PROJECT_BINARY_DIR}/generated/isoflop-config.cmake"
  INSTALL_DESTINATION "${package_dir}"
  PATH_VARS CMAKE_INSTALL_DATADIR)
# Before 1.0 a new minor version may change interfaces.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/generated/isoflop-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/generated/isoflop-config.cmake"
              "${PROJECT_BINARY_DIR}/generated/isoflop-config-version.cmake"
        DESTINATION "${package_dir}")
