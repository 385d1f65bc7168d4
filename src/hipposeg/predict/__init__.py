"""Segment a user's own scan: `hipposeg predict`.

`scan` reads and checks a file, `ensemble` loads the networks and predicts mask and volumes with intervals, `batch`
processes many files. The weights and their model card are package data, in the folder `weights`.
"""
