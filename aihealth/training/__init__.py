"""Augmentation, batches, checkpoints, and what makes a release of a run."""
