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
configure_file(cmake/torchreg.pc.in torchreg.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/torchreg.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# cpack -G DEB
if(top_level)
  set(CPACK_PACKAGE_NAME libtorchreg-dev)
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "regularization for LibTorch: penalties, constraints, true zeros")
  set(CPACK_PACKAGE_CONTACT "the torchreg authors")
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
  set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS libtorch-dev)  # or pip's, or the zip
  include(CPack)
endif()
