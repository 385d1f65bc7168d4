"""Labelled data sets other than Task04: description, folds, training, scores and a page.

`describe` turns a folder into the description that everything else reads, `fit` fits a model of the project to it, and
`commands` is `hipposeg train --data` and `hipposeg evaluate`. `hipposeg-lab standin` writes synthetic data to try them.
"""
