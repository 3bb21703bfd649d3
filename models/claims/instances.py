"""Instance retrieval on rendered objects: dissertation, chapter 2, with a network of the claims in place of ImageNet's.

An instance is one object before one background, shown in four frames of its clip, in which it has another place, size
or angle, and noise of its own. The first frame is the query, the other three are its answers, as in Holidays.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tdn_data.models.backbones import Backbone
from tdn_data.models.retrieval.image_sets import read_holidays
from tdn_data.models.retrieval.search import check_database, search_layers
from tdn_data.models.retrieval.vlad_options import VladOptions
from tdn_data.models.threads import torch_threads
from tdn_data.pipeline.datasets.demo import CLASS_NAMES, render_clip
from tdn_data.pipeline.images import write_png

NUM_INSTANCES, SIZE = 60, 64
SHOWN = (0, 5, 10, 15)  # frames of a clip of sixteen
SEEDS = {"val": 9, "test": 10}  # behind the data set's own; clips have longer ones


def render_instances(out: Path, *, seed: int, noise: float, split: str) -> Path:
    """Write the frames of all instances to `out` as `000000.png`, named as Holidays' are, unless it is there."""
    if out.exists():
        return out
    unfinished = out.with_name(f"{out.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for number in range(NUM_INSTANCES):
        name = CLASS_NAMES[number % len(CLASS_NAMES)]
        frames = render_clip(name, seed=(seed, SEEDS[split], number), size=SIZE, noise=noise).frames
        for place, index in enumerate(SHOWN):
            write_png(unfinished / f"{number:04d}{place:02d}.png", frames[index])
    return unfinished.rename(out)


def query_average_precisions(network: Backbone, images: Path, options: VladOptions) -> np.ndarray:
    """Return the average precision of each query, float64 (queries,), with all of the scales of `options` together.

    Raises ValueError that lists the network's layers for one that it does not have.
    """
    network.layers_until(options.layer)
    database = check_database(read_holidays(images), fail_above=0)
    with torch_threads(1):
        *_, result = search_layers(network.eval(), database, [options])
    return np.array([result.score.average_precisions[query.name] for query in database.retrieval.queries])
