include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package ${CMAKE_INSTALL_DATADIR}/cmake/torchreg)
write_basic_package_version_file(torchregConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)

install(DIRECTORY include/torchreg DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS torchreg EXPORT torchregTargets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT torchregTargets NAMESPACE torchreg:: DESTINATION ${package})
install(FILES cmake/torchregConfig.cmake cmake/torchregTorch.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/torchregConfigVersion.cmake
        DESTINATION ${package})
