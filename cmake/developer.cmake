# For our own programs only, in the folder that includes this; nothing here reaches a consumer.
find_program(CCACHE ccache)
if(CCACHE)
  # A precompiled header is cached only with these two.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

# The C++ standard that LibTorch was built with, but at least 17.
if(NOT CMAKE_CXX_STANDARD)
  get_target_property(CMAKE_CXX_STANDARD torch CXX_STANDARD)
  if(NOT CMAKE_CXX_STANDARD GREATER 17)
    set(CMAKE_CXX_STANDARD 17)
  endif()
endif()
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

if(MSVC)
  add_compile_options(/W4)
else()
  add_compile_options(-Wall -Wextra -Wpedantic)
endif()
