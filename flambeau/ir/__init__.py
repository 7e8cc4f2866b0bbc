"""The intermediate representations: Expr, Kernel, Graph; each verified, interpretable and printable."""
