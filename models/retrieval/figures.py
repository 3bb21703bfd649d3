"""A picture of what a search found: each query at the left, its ranked images beside it, answers green, others red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tdn_data.models.retrieval.image_sets import RetrievalQuery
from tdn_data.models.retrieval.ranking import NUM_FIRST_RANKS, ImageFiles
from tdn_data.models.retrieval.search import Database, SearchResult
from tdn_data.pipeline.view.sheet import INK, PAPER, framed_thumbnail, stack_bands

LINES = ("-", "--", "-.")
ANSWER, OTHER = (28, 150, 70), (205, 45, 45)


def search_sheet(
    database: Database, result: SearchResult, *, title: str, num_queries: int = 12, num_ranks: int = 8, side: int = 136
) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB: the title, then a row a query, spread evenly from the best found to the worst.

    An answer's rank is marked + and framed green, any other - and red. Images that a query ignores (the query itself
    in Holidays, junk in Oxford and Paris) are not ranked and not shown. At most `NUM_FIRST_RANKS` ranks are known.
    """
    if not 1 <= num_ranks <= NUM_FIRST_RANKS or num_queries < 1:
        raise ValueError(f"{num_queries} queries of {num_ranks} ranks; expected 1 or more of 1 to {NUM_FIRST_RANKS}")
    precisions = result.score.average_precisions
    queries = sorted(database.retrieval.queries, key=lambda query: (-precisions[query.name], query.name))
    chosen = np.unique(np.linspace(0, len(queries) - 1, min(num_queries, len(queries))).round().astype(int))
    bands = [(np.full((1, 1, 3), PAPER, np.uint8), title)]
    for number in chosen:
        names = result.score.first_ranks[queries[number].name][:num_ranks]
        caption = _caption(queries[number], names, precisions[queries[number].name])
        bands.append((_band(queries[number], names, database.images, side), caption))
    return stack_bands(bands)


def layer_curves(results: Sequence[SearchResult], *, title: str) -> Figure:
    """Return mAP in percent by layer, a line for each set of scales, as the dissertation's figure 2.2 has it.

    The first scale is solid, the second dashed, all together dotted; the best of each line is marked.
    """
    layers = list(dict.fromkeys(one.layer for one in results))
    figure = Figure(figsize=(max(5.0, 2.0 + 0.55 * len(layers)), 4.2), layout="constrained", dpi=120)
    axes = figure.subplots()
    for number, scales in enumerate(dict.fromkeys(one.scales for one in results)):
        own = [one for one in results if one.scales == scales]
        places = [layers.index(one.layer) for one in own]
        values = [100 * one.score.mean_average_precision for one in own]
        style = LINES[number % len(LINES)] if len(scales) == 1 else ":"
        axes.plot(places, values, style, marker="o", markersize=3, label=scale_words(scales))
        best = int(np.argmax(values))
        axes.annotate(
            f"{values[best]:.1f}", (places[best], values[best]), (0, 4), textcoords="offset points", fontsize=8
        )
    axes.set_xticks(range(len(layers)), layers, rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("mAP, percent")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def scale_words(scales: tuple[int, ...]) -> str:
    """Return a set of scales as a reader sees it: `scale 1`, `scales 1 + 2`."""
    return f"scale {scales[0]}" if len(scales) == 1 else f"scales {' + '.join(map(str, scales))}"


def _caption(query: RetrievalQuery, names: tuple[str, ...], precision: float) -> str:
    found = sum(name in query.positives for name in names)
    return f"{query.name}   AP {precision:.3f}   {found} of {len(query.positives)} answers among the first {len(names)}"


def _band(query: RetrievalQuery, names: tuple[str, ...], images: Mapping[str, Path], side: int) -> np.ndarray:
    """Return the query's picture and those of the images ranked first, side by side."""
    pictures = ImageFiles(tuple(images[name] for name in (query.image, *names)))
    cells = [framed_thumbnail(pictures[0], side, "query", INK)]
    for rank, name in enumerate(names, start=1):
        is_answer = name in query.positives
        text = f"{rank} {'+' if is_answer else '-'}"
        cells.append(framed_thumbnail(pictures[rank], side, text, ANSWER if is_answer else OTHER))
    return np.concatenate(cells, axis=1)
