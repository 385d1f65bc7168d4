"""Segment a user's own scan: `hipposeg predict`, or `segment` from Python.

`scan` and `dicom` read and check a file, `registration` finds the hippocampi in a head, `crop` settles the crops,
`ensemble` predicts them, `segment` puts it together, `output` writes the results, and `dicom_seg` a DICOM SEG. `bids`
and `serve` are other ways in. Weights with their model card and the template are package data.
"""
