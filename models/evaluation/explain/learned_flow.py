"""What a network that gives flow sees move, beside the stored flow: Ng's dissertation, figures 4.5 and 4.7.

Of a network that warps its maps, the differences that are left, too: Zhao, Xiong & Lin, figure 5.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from tdn_data.models.evaluation.explain.picture import Cell, Row
from tdn_data.models.evaluation.explain.seen import SeenClip
from tdn_data.models.evaluation.flow_solver import check_gives_flow
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.pipeline.flow import flow_to_color
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.view.flow_pictures import flow_scale


def predicted_flow(model: VideoNetwork, clip: Tensor) -> np.ndarray:
    """Return a network's flow for a clip (1, S, K, C, H, W), float32 (S, fields, H, W, 2), in pixels of the clip.

    Field k leads from frame k of a snippet to the next one; with K of them the last leads to a frame that the network
    has not seen. Raises InputError for a network that gives no flow.
    """
    check_gives_flow(model)
    with torch.inference_mode():
        found = model.flow(clip)[0].float().cpu().movedim(2, -1).numpy()  # (S, fields, h, w, 2)
    size = clip.shape[:-3:-1]
    flat = [cv2.resize(field, size, interpolation=cv2.INTER_LINEAR) for field in found.reshape(-1, *found.shape[2:])]
    return np.stack(flat).reshape(*found.shape[:2], *flat[0].shape)


def flow_rows(model: VideoNetwork, clip: Tensor, seen: SeenClip, reader: ShardReader | None) -> tuple[list[Row], float]:
    """Return the rows of predicted and of stored flow, in colour on one scale, and the motion that is full colour.

    It is that of the stored flow, where there is some: of a prediction that is far off what lies beyond it is dark.
    The last field of a snippet, where it leads to a frame that the network has not seen, says `next`. Without a reader
    of flow there is one row alone.
    """
    predicted, length = predicted_flow(model, clip), seen.rows.shape[1]
    kinds = {"predicted flow": predicted}
    if reader is not None:
        method = str(reader.info.parameters.get("method", "flow"))
        stored = seen.stored_flow(reader)[:, : predicted.shape[1]]
        kinds[f"stored flow ({method}){_error_words(predicted, stored)}"] = stored
    known = [[field for field in one.reshape(-1, *one.shape[2:]) if np.isfinite(field).all()] for one in kinds.values()]
    scale = flow_scale(known[-1] or known[0], bound=0.0)
    rows = [_row(caption, one, length, scale) for caption, one in kinds.items()]
    return rows + change_rows(model, clip), scale


def change_rows(model: VideoNetwork, clip: Tensor) -> list[Row]:
    """Return a row of each kind of differences between neighbouring maps, light where they are large, on one scale.

    A difference stands below the frame that it leads from, as flow does.
    """
    with torch.inference_mode():
        kinds = {name: maps[0].float().cpu().numpy() for name, maps in model.change_maps(clip).items()}
    length, most = clip.shape[2], max((float(maps.max()) for maps in kinds.values()), default=0.0)
    rows = []
    for name, maps in kinds.items():
        grey = np.rint(255 * maps / max(most, 1e-12)).astype(np.uint8)
        cells = [
            Cell(snippet * length + number, np.repeat(grey[snippet, number][..., None], 3, axis=2))
            for snippet, number in np.ndindex(*maps.shape[:2])
        ]
        rows.append(Row(f"differences of low-level maps, {name}: mean {float(maps.mean()):.3g}", cells))
    return rows


def _row(caption: str, fields: np.ndarray, length: int, scale: float) -> Row:
    """Return a row of fields (S, fields, H, W, 2), each below the frame that it leads from."""
    cells = []
    for (snippet, number), known in np.ndenumerate(np.isfinite(fields).all((2, 3, 4))):
        picture = flow_to_color(np.nan_to_num(fields[snippet, number]), max_magnitude=scale)
        word = "none stored" if not known else "next" if number == length - 1 else ""
        cells.append(Cell(snippet * length + number, picture, word))
    return Row(caption, cells)


def _error_words(predicted: np.ndarray, stored: np.ndarray) -> str:
    error = np.linalg.norm(predicted - stored, axis=-1)
    return f"; mean end-point error {np.nanmean(error):.2f} px" if np.isfinite(error).any() else ""
