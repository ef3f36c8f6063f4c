#include <torchreg/torchreg.hpp>

void prox_of_other(const torch::Tensor& w) { torchreg::L1(2.0).prox_(w, 0.5); }

// This unit is optimized and comes first, main.cpp is not: there, the linker must not take this
// function, after which a term would leave out what it takes to go through lanes.
bool (*fit_lanes)(const std::array<torch::Tensor, 1>&) =
    torchreg::detail::fit_lanes<torchreg::detail::L1Formula>;
