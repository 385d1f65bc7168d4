"""The data set: what it is, where it comes from, reading with checks, folds, preprocessing."""
