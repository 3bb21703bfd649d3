"""A local page over shards: what is in them, each video with its flow, and what runs made of it.

It reads files and never writes one, and never a whole set: index and ledger by columns, footers where lengths are asked
for, and of a shard the rows that are on screen.

    found.py     what lies at a path: finished, unfinished, damaged
    videos.py    one row per video, in columns
    source.py    the same, kept fresh while an extraction goes on
    filters.py   which videos: what the address says
    lengths.py   how long videos are, read from footers in the background
    media.py     pictures, flow planes, posters
    runs.py      what evaluated runs say of the videos
    charts.py    numbers as bars
    site.py      what pages are made of, and what stands on each; *_page.py, what each one shows
    app.py       addresses, and who may ask
    serve.py     the socket and the browser
"""
