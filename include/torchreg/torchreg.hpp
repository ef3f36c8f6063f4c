#pragma once

#include <torchreg/parameters.hpp>
#include <torchreg/penalties/elastic_net.hpp>
#include <torchreg/penalties/l1.hpp>
#include <torchreg/penalties/l2.hpp>
#include <torchreg/penalty.hpp>
#include <torchreg/proximal_step.hpp>
#include <torchreg/select.hpp>
#include <torchreg/soft_threshold.hpp>
#include <torchreg/sparsity.hpp>
#include <torchreg/step_size.hpp>
#include <torchreg/version.hpp>
