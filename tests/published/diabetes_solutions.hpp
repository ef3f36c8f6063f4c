// Lasso and elastic-net coefficients of the diabetes data (scikit-learn 1.9.1, glmnet 4.1.6).
// Written by make.py beside this file; do not edit.
#pragma once

#include <vector>

namespace published {

// The columns of X and y are centred. unit_norm: then each column of X is divided by its Euclidean
// norm and y is left as it is (sklearn.datasets.load_diabetes). standardized: y and each column of
// X are divided by their standard deviation, the one with 1/n.
enum class Scaling { unit_norm, standardized };

// w = argmin (1/(2n)) |y - X w|^2 + l1 |w|_1 + (l2/2) |w|^2, n = 442; no intercept.
struct Solution {
  const char* call;
  Scaling scaling;
  double l1, l2;
  std::vector<double> w;  // age, sex, bmi, bp, s1, s2, s3, s4, s5, s6
};

// clang-format off
inline const std::vector<Solution> solutions = {
    {"Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=1000000).fit(X, y)",
     Scaling::unit_norm, 0.1, 0,
     {0.0, -155.34311062466875, 517.2162412030532, 275.08722292825655,
      -52.55203581190205, 0.0, -210.13950903523505, 0.0,
      483.9171745719605, 33.662192143129985}},
    {"Lasso(alpha=1.0, fit_intercept=False, tol=1e-14, max_iter=1000000).fit(X, y)",
     Scaling::unit_norm, 1, 0,
     {0.0, 0.0, 367.70162582143087, 6.309702644174763,
      0.0, 0.0, 0.0, 0.0,
      307.6021474621962, 0.0}},
    {"ElasticNet(alpha=0.01, l1_ratio=0.5, fit_intercept=False, tol=1e-14, max_iter=1000000).fit(X, y)",
     Scaling::unit_norm, 0.005, 0.005,
     {33.14952987572036, -35.2429725656216, 211.02747456567405, 144.5597680192363,
      21.93070296686542, 0.0, -115.61921077662946, 100.65756804003726,
      185.32517347774987, 96.25698662545202}},
    {"ElasticNet(alpha=0.1, l1_ratio=0.9, fit_intercept=False, tol=1e-14, max_iter=1000000).fit(X, y)",
     Scaling::unit_norm, 0.09, 0.01,
     {23.622876877913363, -2.958825429804293, 133.39877523479444, 92.59559282236545,
      21.03506605368754, 8.266538558087703, -75.96658277661487, 73.5035328751478,
      120.61259457291217, 67.92846875230848}},
    {"Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=1000000).fit(X, y)",
     Scaling::standardized, 0.1, 0,
     {0.0, 0.0, 0.3048580918134255, 0.1063207532794438,
      0.0, 0.0, -0.05843815837964599, 0.0,
      0.26474093684917754, 0.0}},
    {"glmnet(x, y, lambda=0.1, alpha=1, standardize=FALSE, intercept=FALSE, thresh=1e-30)",
     Scaling::standardized, 0.1, 0,
     {0.0, 0.0, 0.30485809181342394, 0.1063207532794446,
      0.0, 0.0, -0.05843815837964719, 0.0,
      0.2647409368491775, 0.0}},
    {"glmnet(x, y, lambda=0.02, alpha=1, standardize=FALSE, intercept=FALSE, thresh=1e-30)",
     Scaling::standardized, 0.02, 0,
     {0.0, -0.10873886600767467, 0.3209993813006016, 0.17656949865773297,
      -0.04795482716678464, 0.0, -0.1339554610425542, 0.0,
      0.30820247542530027, 0.02715593673813602}},
    {"glmnet(x, y, lambda=0.1, alpha=0.5, standardize=FALSE, intercept=FALSE, thresh=1e-30)",
     Scaling::standardized, 0.05, 0.05,
     {0.0, -0.051410524371979766, 0.3027736881143133, 0.14677787413863227,
      0.0, 0.0, -0.11145188670120189, 0.0,
      0.2669403404592624, 0.013002111637448039}},
    {"glmnet(x, y, lambda=0.05, alpha=0.2, standardize=FALSE, intercept=FALSE, thresh=1e-30)",
     Scaling::standardized, 0.01, 0.04,
     {0.0, -0.12045943782791596, 0.3132374414418022, 0.1828577122209374,
      -0.06241449630619145, -0.007584434033914737, -0.1261141881897459, 0.026462090633094907,
      0.2993400912915458, 0.04066815437073851}},
};
// clang-format on

}  // namespace published
