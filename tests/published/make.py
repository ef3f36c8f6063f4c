#!/usr/bin/env python3
"""Remakes diabetes_solutions.hpp with scikit-learn and, through make.R, glmnet.

    python3 tests/published/make.py

Needs numpy, scikit-learn, Rscript and the R package glmnet (Debian: r-cran-glmnet).
"""

import pathlib
import subprocess

import numpy as np
import sklearn
from sklearn.linear_model import ElasticNet, Lasso

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parents[1] / "examples" / "data" / "diabetes.csv"
EXACT = {"fit_intercept": False, "tol": 1e-14, "max_iter": 10**6}

HEADER = """\
// Lasso and elastic-net coefficients of the diabetes data (scikit-learn {sklearn}, glmnet {glmnet}).
// Written by make.py beside this file; do not edit.
#pragma once

#include <vector>

namespace published {{

// The columns of X and y are centred. unit_norm: then each column of X is divided by its Euclidean
// norm and y is left as it is (sklearn.datasets.load_diabetes). standardized: y and each column of
// X are divided by their standard deviation, the one with 1/n.
enum class Scaling {{ unit_norm, standardized }};

// w = argmin (1/(2n)) |y - X w|^2 + l1 |w|_1 + (l2/2) |w|^2, n = 442; no intercept.
struct Solution {{
  const char* call;
  Scaling scaling;
  double l1, l2;
  std::vector<double> w;  // age, sex, bmi, bp, s1, s2, s3, s4, s5, s6
}};

// clang-format off
inline const std::vector<Solution> solutions = {{
{solutions}
}};
// clang-format on

}}  // namespace published
"""


def solution(call, scaling, alpha, l1_ratio, w):
    rows = [", ".join(repr(float(v) + 0.0) for v in w[i : i + 4]) for i in (0, 4, 8)]
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    return (f'    {{"{call}",\n     Scaling::{scaling}, {l1:.12g}, {l2:.12g},\n'
            f"     {{{rows[0]},\n      {rows[1]},\n      {rows[2]}}}}},")


def with_sklearn(data, scaling, model):
    alpha, l1_ratio = model.alpha, getattr(model, "l1_ratio", 1)
    w = model.set_params(**EXACT).fit(*data).coef_
    kind = f", l1_ratio={l1_ratio}" if isinstance(model, ElasticNet) and l1_ratio != 1 else ""
    call = (f"{type(model).__name__}(alpha={alpha}{kind}, fit_intercept=False, tol=1e-14, "
            "max_iter=1000000).fit(X, y)")
    return solution(call, scaling, alpha, l1_ratio, w)


def with_glmnet():
    lines = subprocess.run(["Rscript", HERE / "make.R", TABLE], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    solutions = []
    for line in lines[1:]:
        lam, alpha, *w = map(float, line.split())
        call = (f"glmnet(x, y, lambda={lam:g}, alpha={alpha:g}, standardize=FALSE, "
                "intercept=FALSE, thresh=1e-30)")
        solutions.append(solution(call, "standardized", lam, alpha, w))
    return lines[0], solutions


def main():
    table = np.loadtxt(TABLE, delimiter=",", skiprows=1)
    centred = table - table.mean(0)
    standardized = centred / centred.std(0)
    unit = centred[:, :-1] / np.linalg.norm(centred[:, :-1], axis=0), centred[:, -1]
    standard = standardized[:, :-1], standardized[:, -1]

    version, from_glmnet = with_glmnet()
    solutions = [with_sklearn(unit, "unit_norm", model) for model in
                 (Lasso(alpha=0.1), Lasso(alpha=1.0), ElasticNet(alpha=0.01, l1_ratio=0.5),
                  ElasticNet(alpha=0.1, l1_ratio=0.9))]
    solutions.append(with_sklearn(standard, "standardized", Lasso(alpha=0.1)))
    text = HEADER.format(sklearn=sklearn.__version__, glmnet=version,
                         solutions="\n".join(solutions + from_glmnet))
    (HERE / "diabetes_solutions.hpp").write_text(text)


if __name__ == "__main__":
    main()
