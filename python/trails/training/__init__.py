"""What the training of every family's networks shares: rows, batches and their order, losses, the optimiser."""
