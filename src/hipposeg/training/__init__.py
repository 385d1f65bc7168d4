"""Training: one loop for 2D and 3D, augmentation on the batch, device and precision by what the machine has."""
