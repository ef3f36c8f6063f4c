# Rscript make_path.R ../../examples/data: writes diabetes_glmnet.csv there, glmnet's lasso at five
# lambdas, X and y standardized by hand as in make.R.
suppressMessages(library(glmnet))
standardize <- function(v) (v - mean(v)) / sqrt(mean((v - mean(v))^2))
folder <- commandArgs(trailingOnly = TRUE)[1]
table <- read.csv(file.path(folder, "diabetes.csv"))
x <- apply(as.matrix(table[, 1:10]), 2, standardize)
y <- standardize(table[, 11])

lines <- paste(c("lambda", colnames(table)[1:10]), collapse = ",")
for (lambda in c(0.4, 0.2, 0.1, 0.02, 0.005)) {
  fit <- glmnet(x, y, lambda = lambda, alpha = 1, standardize = FALSE, intercept = FALSE,
                thresh = 1e-30, maxit = 1e7)
  lines <- c(lines, paste(sprintf("%.17g", c(lambda, as.vector(fit$beta))), collapse = ","))
}
writeLines(lines, file.path(folder, "diabetes_glmnet.csv"))
