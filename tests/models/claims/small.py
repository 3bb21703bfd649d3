"""A book of claims that two small trainings decide."""

from tdn_data.models.claims.book import Book

RUN = {"data": "tiny", "network": "tsn"}
CLAIM = {"paper": "P", "place": "Table 1", "says": "two epochs are at least as good as none", "numbers": "50, 60"}
SMALL = {
    "seeds": [0, 1],
    "data": {
        "tiny": {
            "demo": {"train_per_class": 1, "val_per_class": 1, "test_per_class": 1},
            "rgb": {"height": 24, "width": 24},
            "flow": {"height": 24, "width": 24},
        }
    },
    "train": {
        "backbone": "resnet18",
        "backbone_options": {"width": 4},
        "num_segments": 2,
        "size": 24,
        "crop": "random",
        "mirror": False,
        "epochs": 1,
        "batch_size": 8,
        "num_threads": 1,
    },
    "test": {"num_clips": 1, "num_crops": 1, "num_threads": 1},
    "runs": {
        "first": RUN,
        "longer": RUN | {"train": {"init": ["first"]}},
        "seen-longer": {"of": "first", "test": {"num_segments": 4}},
    },
    "fusions": {"together": {"runs": {"first": 1, "longer": 1}}},
    "claims": {
        "longer-training": CLAIM | {"small": True, "steps": [{"sum": {"longer": 1, "first": -1}, "at_least": True}]},
        "fusion": CLAIM | {"steps": [{"sum": {"together": 1, "first": -1}, "at_least": True}]},
        "segments": CLAIM | {"steps": [{"sum": {"seen-longer": 1, "first": -1}, "at_least": True}]},
    },
}


def small_book(**changes: object) -> Book:
    """Return the book, with other sections in place of some."""
    return Book.model_validate(SMALL | changes)
