"""The benchmark: the flagship against nnU-Net v2 and MONAI's DynUNet pipeline, on one CPU.

`make bench` installs the peers' packages and runs every cell (`cells`), each in a process of its own, one by one. Peers
run their own code; this package stops them after a given time and scores their predictions.
"""
