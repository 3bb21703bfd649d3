"""Clips: what a network is given, cut out of shards."""
