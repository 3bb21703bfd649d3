"""Training: what it is given, what it minimises, and how it goes."""
