#pragma once

// Every test includes this, and it alone: LibTorch and Catch2 both define CHECK.
#include <torch/torch.h>

#undef CHECK

#if __has_include(<catch2/catch_all.hpp>)  // version 3
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else  // version 2
#include <catch2/catch.hpp>
#endif
