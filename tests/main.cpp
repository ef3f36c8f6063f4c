#include <ATen/Parallel.h>

#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

int main(int argc, char** argv) {
  at::set_num_threads(1);  // ctest runs several of these at once, and most tensors are tiny
  return Catch::Session().run(argc, argv);
}
