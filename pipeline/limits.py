"""How large things may be that a file or a slip of the keyboard asks for: one table, each limit with its reason.

What a user may change for one extraction (seconds, memory and pixels a video) is in `pipeline.parameters.Limits`.
"""

from __future__ import annotations

MAX_SMALL_FILE_BYTES = 1 << 30  # a list, label or JSON file read whole; ten million lines of 100 bytes
MAX_CLASSES = 1_000_000  # of one data set; a label above is a slip or an identifier, and one row a class is allocated
MAX_LIST_ROWS = 100_000_000  # lines of one list
MAX_LABELS_PER_VIDEO = 10_000  # in one row of a list
MAX_DIGITS = 18  # of a whole number in a list; it then fits 64 bits
MAX_PATH_BYTES = 4096  # Linux' PATH_MAX
MAX_NAME_BYTES = 255  # NAME_MAX of nearly every filesystem: one component of a path
MAX_IDENTIFIER_BYTES = 500  # LMDB's keys have at most 511 bytes: the identifier, "/" and eight digits
MAX_SEED = 2**32 - 1  # NumPy's and torch's seeds both take it
MAX_THREADS = 1024  # of one process
MAX_SEGMENTS = 1024  # snippets that one clip tensor may hold
MAX_RATE = 10_000.0  # frames a second; the fastest cameras of data sets have 1,000
MAX_EPOCHS = 1_000_000  # of one training
MAX_BATCH = 1 << 20  # clips or views in one batch
MAX_CLIP_SIDE = 4096  # pixels of what a network sees
MIN_CLIP_SIDE = 16  # pixels of what a network sees; after five halvings less is nothing but padding
MAX_SIDE = 1 << 16  # pixels along one side of an image or of a flow field
MAX_FRAMES = 10_000_000  # asked of one video; a hostile header can announce centuries

# defaults that rooms share which do not import each other
DEFAULT_MAX_PIXELS = 1 << 26  # of one picture: 67 million, twice an 8K picture
DEFAULT_JPEG_QUALITY = 95
