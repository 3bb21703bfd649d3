"""What the papers say of their networks, as data (claims.yaml), tried on variants of the built-in data set.

`book` reads the claims, `material` makes the data sets, `instances` the images that are searched, `trained` one run,
`schedule` all that are missing, `verdict` says what the scores show, and `table` writes it down.
"""
