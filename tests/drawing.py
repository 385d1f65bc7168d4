"""What tests of figures share."""

import numpy as np


def texts(fig):
    """Every text in a figure's axes."""
    return [text.get_text() for ax in fig.axes for text in ax.texts]


def volume(shape=(12, 20, 14), seed=0):
    """A noisy image and a label map: anterior at the high end of axis 1, posterior at the low end."""
    image = np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)
    label = np.zeros(shape, np.uint8)
    label[4:8, 11:16, 4:9] = 1
    label[4:8, 4:11, 5:8] = 2
    return image, label
