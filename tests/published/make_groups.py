#!/usr/bin/env python3
"""Remakes diabetes_groups.hpp with skglm.

    python3 tests/published/make_groups.py

Needs numpy and skglm.
"""

import pathlib

import numpy as np
import skglm
from skglm import GeneralizedLinearEstimator
from skglm.datafits import Quadratic, QuadraticGroup
from skglm.penalties import MCPenalty, SCAD
from skglm.penalties.block_separable import WeightedGroupL2, WeightedL1GroupL2
from skglm.solvers import AndersonCD, GroupBCD
from skglm.utils.data import grp_converter

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parents[1] / "examples" / "data" / "diabetes.csv"
GROUPS = [[0, 1], [2, 3], [4, 5, 6], [7, 8, 9]]  # age and sex, bmi and bp, s1-s3, s4-s6

HEADER = """\
// Penalized least squares on the diabetes data by skglm {skglm}. Written by make_groups.py beside
// this file; do not edit.
#pragma once

#include <vector>

namespace published {{

// The columns of X and y are centred and divided by their standard deviation, the one with 1/n. w
// minimizes (1/(2n)) |y - X w|^2 + R(w), n = 442; the groups are of columns {{0, 1}}, {{2, 3}},
// {{4, 5, 6}} and {{7, 8, 9}}, each with the root of its size for weight.
struct OfGroups {{
  const char* penalty;
  double first, second;  // lambda and gamma or a; or l1 and group
  std::vector<double> w;
}};

// clang-format off
inline const std::vector<OfGroups> of_groups = {{
{rows}
}};
// clang-format on

}}  // namespace published
"""


def main():
    table = np.loadtxt(TABLE, delimiter=",", skiprows=1)
    table -= table.mean(0)
    table /= np.sqrt((table**2).mean(0))
    x, y = np.asfortranarray(table[:, :10]), np.ascontiguousarray(table[:, 10])
    indices, pointers = grp_converter(GROUPS, 10)
    roots = np.sqrt([float(len(g)) for g in GROUPS])
    rows = []

    def add(name, first, second, w):
        numbers = [repr(float(v) + 0.0) for v in w]
        lines = ",\n      ".join(", ".join(numbers[i : i + 4]) for i in (0, 4, 8))
        rows.append(f'    {{"{name}", {first}, {second},\n     {{{lines}}}}},')

    def by_entry(penalty):
        solver = AndersonCD(max_iter=10000, max_epochs=100000, tol=1e-14, fit_intercept=False)
        return GeneralizedLinearEstimator(Quadratic(), penalty, solver).fit(x, y).coef_

    def by_group(penalty):
        solver = GroupBCD(max_iter=10000, max_epochs=100000, tol=1e-14, fit_intercept=False,
                          ws_strategy="fixpoint")
        datafit = QuadraticGroup(pointers, indices)
        return GeneralizedLinearEstimator(datafit, penalty, solver).fit(x, y).coef_

    for group in (0.02, 0.1, 0.2):
        add("GroupLasso", 0, group, by_group(WeightedGroupL2(group, roots, pointers, indices)))
    for l1, group in ((0.05, 0.05), (0.02, 0.15)):
        penalty = WeightedL1GroupL2(1.0, group * roots, l1 * np.ones(10), pointers, indices)
        add("SparseGroupLasso", l1, group, by_group(penalty))
    for strength, gamma in ((0.05, 3.0), (0.1, 2.0)):
        add("MCP", strength, gamma, by_entry(MCPenalty(strength, gamma)))
    for strength, a in ((0.05, 3.7), (0.1, 3.0)):
        add("SCAD", strength, a, by_entry(SCAD(strength, a)))
    text = HEADER.format(skglm=skglm.__version__, rows="\n".join(rows))
    (HERE / "diabetes_groups.hpp").write_text(text)


if __name__ == "__main__":
    main()
