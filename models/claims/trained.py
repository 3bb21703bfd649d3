"""One run of a claim with one seed: trained unless it is there, then tested on one split unless it was."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tdn_data.models.claims.book import Book, short_digest
from tdn_data.models.claims.instances import query_average_precisions, render_instances
from tdn_data.models.claims.map_shares import shares_in_box
from tdn_data.models.claims.material import open_data
from tdn_data.models.evaluation.evaluate import evaluate
from tdn_data.models.evaluation.metrics import are_hit, label_matrix
from tdn_data.models.evaluation.scores import VideoScores, fuse_scores, in_order_of, read_scores, write_scores
from tdn_data.models.networks import build_model
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.models.training.train import train
from tdn_data.models.weights.checkpoint import load_weights
from tdn_data.pipeline.datasets.demo import CLASS_NAMES
from tdn_data.pipeline.files import read_json, write_json

CHECKPOINT, COST = "checkpoint.pt", "cost.json"


@dataclass(frozen=True)
class Place:
    """Where everything of the claims lies, and the split that is tested."""

    folder: Path
    split: str  # "test", or "val" while claims.yaml is written


@dataclass(frozen=True)
class SeededRun:
    """One run with one seed."""

    name: str
    seed: int

    def folder(self, book: Book, place: Place) -> Path:
        """Return where its weights and scores lie."""
        run = book.runs[self.name].of or self.name
        return place.folder / "runs" / f"{run}-seed{self.seed}-{book.digest(self.name, seed=self.seed)}"

    def scores(self, book: Book, place: Place) -> Path:
        """Return the file of its scores on the split that is tested."""
        test = short_digest(asdict(book.test_config(self.name)))
        return self.folder(book, place) / f"{place.split}-{test}.parquet"

    def is_trained(self, book: Book, place: Place) -> bool:
        """Tell whether its weights are there."""
        return (self.folder(book, place) / CHECKPOINT).exists()

    def is_done(self, book: Book, place: Place) -> bool:
        """Tell whether it is trained and tested."""
        return self.scores(book, place).exists()


def make_run(run: SeededRun, book: Book, place: Place) -> float:
    """Train one run unless it is trained, test it, and return the seconds of processor time that this took.

    A training that was stopped goes on from its last snapshot.
    """
    began, folder = time.process_time(), run.folder(book, place)
    if not run.is_trained(book, place):
        _train(run, book, place, folder)
    trained = book.trained(run.name)
    config = replace(book.test_config(run.name), split=place.split)
    reader = open_data(place.folder, book.data[trained.data], trained.modality)
    scores = evaluate(reader, folder / CHECKPOINT, config=config, network=trained.network)
    write_scores(run.scores(book, place), scores)
    return time.process_time() - began


def _train(run: SeededRun, book: Book, place: Place, folder: Path) -> None:
    trained, config = book.trained(run.name), book.train_config(run.name, seed=run.seed)
    data = book.data[trained.data]
    parents = tuple(str(SeededRun(one, run.seed).folder(book, place) / CHECKPOINT) for one in config.init)
    began = time.process_time()
    train(
        open_data(place.folder, data, trained.modality),
        trained.network,
        config=replace(config, init=parents),
        out=folder / "unfinished.pt",
        flow=open_data(place.folder, data, "flow") if config.needs_flow else None,
        snapshots=folder / "snapshots",
    )
    write_json(folder / COST, {"seconds": round(time.process_time() - began, 1)})
    shutil.rmtree(folder / "snapshots", ignore_errors=True)
    os.replace(folder / "unfinished.pt", folder / CHECKPOINT)


def seconds_of(run: SeededRun, book: Book, place: Place) -> float | None:
    """Return the processor time that a run's training took on this machine, None where it is not known."""
    path = run.folder(book, place) / COST
    return read_json(path)["seconds"] if path.exists() else None


def scores_of(name: str, seed: int, book: Book, place: Place) -> VideoScores:
    """Return the scores of a run or a fusion with one seed."""
    if name in book.fusions:
        fusion = book.fusions[name]
        streams = {one: scores_of(one, seed, book, place) for one in fusion.runs}
        return fuse_scores(streams, weights=tuple(fusion.runs.values()), normalize=fusion.normalize)
    return read_scores(SeededRun(name, seed).scores(book, place))


def hits_of(names: Sequence[str], book: Book, place: Place) -> Mapping[str, np.ndarray]:
    """Return for each run or fusion which videos it hits with each seed, bool (seeds, videos), all in one order.

    For a search it is the average precision of each query, float64 (seeds, queries), for maps the share of each
    video's that lies on its object. Raises InputError where runs were tested on other videos.
    """
    found, order = {}, None
    for name in names:
        if name in book.searches or name in book.maps:
            result_of = precisions_of if name in book.searches else shares_of
            found[name] = np.stack([result_of(name, seed, book, place) for seed in book.seeds])
            continue
        every = [scores_of(name, seed, book, place) for seed in book.seeds]
        order = order or every[0].video_ids
        ordered = [in_order_of(order, one, (names[0], name)) for one in every]
        found[name] = np.stack([are_hit(one.scores, label_matrix(one.labels, one.scores.shape[1])) for one in ordered])
    return found


def precisions_of(name: str, seed: int, book: Book, place: Place) -> np.ndarray:
    """Return the average precision of each query of a search with one seed, (queries,): read, or searched once."""
    search = book.searches[name]
    run = SeededRun(search.run, seed)
    path = run.folder(book, place) / f"{place.split}-search-{short_digest(search.vlad.model_dump())}.json"
    if not path.exists():
        demo = book.data[book.trained(search.run).data].demo
        decides = {"seed": demo.seed, "noise": demo.noise, "split": place.split}
        images = render_instances(place.folder / "sets" / f"instances-{short_digest(decides)}", **decides)
        model = _network_of(run, book, place)
        write_json(path, query_average_precisions(model.backbones()[0], images, search.vlad).tolist())
    return np.array(read_json(path))


def shares_of(name: str, seed: int, book: Book, place: Place) -> np.ndarray:
    """Return the share of each video's maps that lies on its object, (videos,): read, or computed once."""
    wanted = book.maps[name]
    run, trained = SeededRun(wanted.run, seed), book.trained(wanted.run)
    path = run.folder(book, place) / f"{place.split}-maps.json"
    if not path.exists():
        data = book.data[trained.data]
        reader = open_data(place.folder, data, trained.modality)
        model, size = _network_of(run, book, place), book.train_config(wanted.run, seed=seed).size
        shares = shares_in_box(model, reader, data.demo, split=place.split, size=size)
        write_json(path, {subnetwork: values.tolist() for subnetwork, values in shares.items()})
    return np.array(read_json(path)[wanted.subnetwork])


def _network_of(run: SeededRun, book: Book, place: Place) -> VideoNetwork:
    """Return a run's network with the weights that it was trained to."""
    trained = book.trained(run.name)
    options = book.train_config(run.name, seed=run.seed).model_options(trained.network, trained.modality)
    model = build_model(trained.network, num_classes=len(CLASS_NAMES), **options)
    load_weights(model, run.folder(book, place) / CHECKPOINT)
    return model.eval()
