"""Data sets: their official lists as videos and labels, the manifest, its index, and what is wrong with a copy."""
