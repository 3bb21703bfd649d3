"""One video's rows: what is decoded, computed and encoded of it.

`versions` follows the imports from `frames` and `flow`: the code found there, and nothing else of this project, decides
what the rows of either modality hold.
"""
