"""The benchmark behind every claim about minutes: ours against nnU-Net v2 and MONAI's DynUNet pipeline, on one CPU.

`make bench` installs what the peers need and runs every cell (`cells`), each in a process of its own, one by one.
Peers run their own code; this package only stops them by the clock and scores what they predict.
"""
