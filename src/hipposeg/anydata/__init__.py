"""Labelled data sets other than Task04: description, folds, training, scores and a page.

`describe` turns a folder into the description that everything else reads, `fit` fits a model of the project to it,
`commands` is `hipposeg train --data` and `hipposeg evaluate`, and `standin` writes synthetic data in each layout.
"""
