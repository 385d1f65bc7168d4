"""Tables of finished runs: reading, writing, comparing them."""
