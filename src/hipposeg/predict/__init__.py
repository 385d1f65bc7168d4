"""Segment a user's own crop with the stored flagship: `hipposeg predict`.

`scan` reads a file and refuses what the networks were not trained on, `model` holds the networks and their card and
turns a scan into a mask and volumes with intervals, `batch` does so for many files and writes what comes out.
"""
