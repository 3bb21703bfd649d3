"""Looking into shards: what lies there, in numbers and in pictures."""
