"""Extraction: from a manifest to a folder of shards, whatever stops it on the way."""
