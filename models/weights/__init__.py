"""Weights: our checkpoints, published files, and what a checkpoint was trained on."""
