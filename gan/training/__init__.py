"""Training: the data, the networks, the losses, the loop, and how good it gets."""
