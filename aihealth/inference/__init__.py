"""Many images at once: inputs, writers of answers, and the Ray engine."""
