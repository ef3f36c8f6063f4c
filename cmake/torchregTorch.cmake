# Included before find_package(Torch), here and in the installed package: all that is found will be
# one build's, and a CUDA build needs no CUDA toolkit, as headers need none.

# Whether LibTorch's config fails. Where it misses something of the toolkit, it stops all of CMake
# and not only itself; so it is asked in a project of its own.
function(torchreg_ask_torch failed)
  set(folder ${CMAKE_BINARY_DIR}/CMakeFiles/torchreg)
  file(WRITE ${folder}/empty.cpp "")
  file(WRITE ${folder}/CMakeLists.txt [[
    cmake_minimum_required(VERSION 3.18)
    project(ask CXX)
    find_package(Torch REQUIRED)
    if(TORCH_LIBRARIES MATCHES NOTFOUND)
      message(FATAL_ERROR "Not found: ${TORCH_LIBRARIES}")
    endif()
    add_library(ask SHARED empty.cpp)
    target_link_libraries(ask torch)
]])
  set(options "-G${CMAKE_GENERATOR}" "-A${CMAKE_GENERATOR_PLATFORM}" "-T${CMAKE_GENERATOR_TOOLSET}")
  list(FILTER options EXCLUDE REGEX "^-.$")
  foreach(name IN ITEMS Torch_DIR Caffe2_DIR CMAKE_PREFIX_PATH CMAKE_TOOLCHAIN_FILE
          CMAKE_MAKE_PROGRAM CMAKE_CXX_COMPILER CMAKE_CUDA_COMPILER CMAKE_CUDA_HOST_COMPILER
          CUDAToolkit_ROOT CUDA_TOOLKIT_ROOT_DIR CMAKE_DISABLE_FIND_PACKAGE_CUDA)
    if(DEFINED ${name})
      string(REPLACE ";" "\\;" value "${${name}}")
      list(APPEND options "-D${name}=${value}")
    endif()
  endforeach()
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${folder} -B ${folder}/build ${options}
                  RESULT_VARIABLE result OUTPUT_FILE ${folder}/log ERROR_FILE ${folder}/log)
  set(${failed} ${result} PARENT_SCOPE)
endfunction()

function(torchreg_before_torch)
  # No version fits, so that nothing is read yet; but those that are there are noted.
  if(NOT EXISTS "${Torch_DIR}/TorchConfig.cmake")
    find_package(Torch 1000 CONFIG QUIET)
    foreach(config version IN ZIP_LISTS Torch_CONSIDERED_CONFIGS Torch_CONSIDERED_VERSIONS)
      if(version VERSION_GREATER_EQUAL 1.13)
        get_filename_component(Torch_DIR ${config} DIRECTORY CACHE)
        break()
      endif()
    endforeach()
  endif()
  set(Caffe2_DIR ${Torch_DIR}/../Caffe2)
  if(NOT EXISTS ${Caffe2_DIR}/Caffe2Targets.cmake)
    return()
  endif()

  # Its other half and its libraries, or else those of the system come first
  set(Caffe2_DIR ${Caffe2_DIR} PARENT_SCOPE)
  find_library(TORCH_LIBRARY torch PATHS ${Torch_DIR}/../../../lib NO_DEFAULT_PATH)
  find_library(c10_LIBRARY c10 PATHS ${Torch_DIR}/../../../lib NO_DEFAULT_PATH)

  # A CUDA build links targets that stand for the toolkit: torch::cudart, and older ones some more.
  # Where torch::cudart is there already, the config does not look for the toolkit; the libraries
  # themselves know where theirs are.
  file(STRINGS ${Caffe2_DIR}/Caffe2Targets.cmake links REGEX "torch::")
  string(REGEX MATCHALL "torch::[a-z]+" toolkit "${links}")
  if(TARGET torch::cudart OR NOT toolkit MATCHES torch::cudart)
    return()
  endif()
  torchreg_ask_torch(failed)
  if(failed)
    message(STATUS "torchreg: LibTorch was built with CUDA and finds no toolkit: going on without")
    foreach(target IN LISTS toolkit)
      if(NOT TARGET ${target})
        add_library(${target} INTERFACE IMPORTED GLOBAL)
      endif()
    endforeach()
  endif()
endfunction()

torchreg_before_torch()
