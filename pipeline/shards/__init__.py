"""Shards: what extraction writes and training reads, in Parquet or LMDB."""
