// expect: NonNegative takes a penalty that is even and grows with each
#include <torchreg/torchreg.hpp>

void wrap() { torchreg::NonNegative(torchreg::Nuclear(1)); }
