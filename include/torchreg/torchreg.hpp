#pragma once

#include <torchreg/lambda_max.hpp>
#include <torchreg/parameters.hpp>
#include <torchreg/penalties/elastic_net.hpp>
#include <torchreg/penalties/fixed_support.hpp>
#include <torchreg/penalties/l1.hpp>
#include <torchreg/penalties/l2.hpp>
#include <torchreg/penalty.hpp>
#include <torchreg/proximal_step.hpp>
#include <torchreg/select.hpp>
#include <torchreg/soft_threshold.hpp>
#include <torchreg/sparsity.hpp>
#include <torchreg/stationarity.hpp>
#include <torchreg/step_size.hpp>
#include <torchreg/support.hpp>
#include <torchreg/target_sparsity.hpp>
#include <torchreg/version.hpp>
