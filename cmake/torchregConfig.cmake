include(CMakeFindDependencyMacro)
if(NOT TARGET torch)
  include(${CMAKE_CURRENT_LIST_DIR}/torchregTorch.cmake)
  find_dependency(Torch 1.13)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/torchregTargets.cmake)
if(Torch_VERSION VERSION_GREATER_EQUAL 2.14)  # its headers want more
  target_compile_features(torchreg::torchreg INTERFACE cxx_std_20)
endif()
