"""Image retrieval with VLAD: the dissertation's chapter 2, whole."""
