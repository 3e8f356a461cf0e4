"""Training: data, batches, loop, checkpoints, folder."""
