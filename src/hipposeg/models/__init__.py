"""Networks: one U-Net for 2D and 3D, and what it is compared with, put in its place or built into it."""
