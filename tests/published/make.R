# Rscript make.R diabetes.csv: glmnet's version, then a line "lambda alpha w1 ... w10" a solution.
# X and y are standardized by hand: glmnet scales y by itself, and only with unit variance is its
# objective (1/(2n)) |y - X w|^2 + lambda (alpha |w|_1 + (1 - alpha)/2 |w|^2).
suppressMessages(library(glmnet))
standardize <- function(v) (v - mean(v)) / sqrt(mean((v - mean(v))^2))
table <- read.csv(commandArgs(trailingOnly = TRUE)[1])
x <- apply(as.matrix(table[, 1:10]), 2, standardize)
y <- standardize(table[, 11])

cat(format(packageVersion("glmnet")), "\n", sep = "")
for (p in list(c(0.1, 1), c(0.02, 1), c(0.1, 0.5), c(0.05, 0.2))) {
  fit <- glmnet(x, y, lambda = p[1], alpha = p[2], standardize = FALSE, intercept = FALSE,
                thresh = 1e-30, maxit = 1e7)
  cat(sprintf("%.17g", c(p, as.vector(fit$beta))), "\n")
}
