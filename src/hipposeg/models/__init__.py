"""Networks: a plain U-Net for 2D and 3D, and encoders from segmentation-models-pytorch."""
