"""Local convolutional features and VLAD for image retrieval: J. Y.-H. Ng, dissertation (2018), chapter 2.

An image is warped to n x n, runs through a pre-trained network up to one layer, and each place of that layer's map is a
local feature (section 2.3.2). The features, L2-normalised, are encoded against a small k-means vocabulary (2.3.3,
equation 2.1), intra-normalised (Arandjelovic & Zisserman 2013: each word's residual on its own), reduced by PCA with
whitening, and compared by L2 distance (2.3.4). Scale 2 is the same with an input of 2n x 2n (2.4.2); the descriptors of
the scales are concatenated (2.4.4), before the PCA.

Where the text is silent: each scale has its own vocabulary, because the same layer answers differently to each (2.4.2);
a descriptor has norm 1 before and after the PCA, as in the whitening of Jegou & Chum 2012; vocabulary and PCA are
learned on the images given to `fit_encoder` (for the chapter's experiments, the database).

Departures: the chapter's networks are Caffe's; torchvision's GoogLeNet normalises by batch instead of by local
response. Table 2.1's conv2_3 does not exist in VGG-16, whose second group has two convolutions. The PCA is learned on
at most `max_projection_images`, spread evenly, so that the whole descriptors of a large database (204,800 numbers each
for 1,024 channels at two scales) need not be held at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone
from models.retrieval import ImageFiles, RetrievalScore, evaluate_retrieval, split_readable

if TYPE_CHECKING:
    from pipeline.datasets.retrieval import RetrievalQuery

logger = logging.getLogger(__name__)

# table 2.1: the chapter's name of a layer -> ours, which is after the ReLU and, for the first two, after the pooling
GOOGLENET_LAYERS = {
    "pool1-norm1": "maxpool1",
    "conv2-norm2": "maxpool2",
    **{f"Inception {block}": f"inception{block}" for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")},
}
VGG16_LAYERS = tuple(
    f"conv{group}_{number}" for group, count in ((2, 2), (3, 3), (4, 3), (5, 3)) for number in range(1, count + 1)
)


@dataclass(frozen=True)
class VladOptions:
    """What a descriptor is made of; the defaults are the chapter's."""

    layer: str  # of the backbone, e.g. "inception3a" (best on Holidays) or "conv5_1"
    scales: tuple[int, ...] = (1, 2)  # multiples of `input_size`
    num_words: int = 100  # k, section 2.3.3
    num_dimensions: int | None = 128  # after the PCA; None keeps the whole VLAD
    input_size: int = 224  # n, pixels
    max_features: int = 200_000  # local features that a vocabulary is learned from, drawn evenly over the images
    max_projection_images: int = 2048  # images that the PCA is learned from
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_words", "input_size", "max_features", "max_projection_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not self.scales or min(self.scales) < 1:
            raise ValueError(f"scales is {self.scales}; expected whole numbers from 1 on, at least one")
        if self.num_dimensions is not None and self.num_dimensions < 1:
            raise ValueError(f"num_dimensions is {self.num_dimensions}; expected 1 or more, or None")


@dataclass(frozen=True)
class Projection:
    """PCA with whitening: x -> (x - mean) components^T, the rows of `components` divided by their deviations."""

    mean: np.ndarray  # (D,)
    components: np.ndarray  # (num_dimensions, D)

    def apply(self, descriptors: np.ndarray) -> np.ndarray:
        """Return float32 (N, num_dimensions) of norm 1 for descriptors (N, D)."""
        return _unit_rows((descriptors - self.mean) @ self.components.T)


def warp_images(images: Sequence[np.ndarray], size: int) -> Tensor:
    """Return the uint8 RGB images (H, W, 3), of any sizes, as float32 (N, 3, size, size), normalised as ImageNet's."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return torch.stack([(_warp(image, size) - mean) / std for image in images])


def _warp(image: np.ndarray, size: int) -> Tensor:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 (H, W, 3), RGB")
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)[0]


def local_features(network: Backbone, images: Tensor, *, layer: str) -> Tensor:
    """Return the L2-normalised features (N, n * n, d) at all places of `layer` for normalised images (N, 3, H, W).

    Nothing past the layer is computed. Raises ValueError for an unknown layer, or a network in training mode, whose
    batch statistics would mix the images.
    """
    if network.training:
        raise ValueError("network is in training mode; call its eval() first")
    with torch.inference_mode():
        feature_map = network.forward_features(images, until=layer)[layer]
        return F.normalize(feature_map.flatten(2).transpose(1, 2).float(), dim=2)


def fit_vocabulary(features: np.ndarray, *, num_words: int = 100, seed: int = 0) -> np.ndarray:
    """Return the k-means centres float32 (num_words, d) of local features (M, d)."""
    from sklearn.cluster import KMeans

    if len(features) < num_words:
        raise ValueError(f"num_words is {num_words}; expected at most the number of local features, {len(features)}")
    means = KMeans(num_words, n_init=1, random_state=seed).fit(features)
    return means.cluster_centers_.astype(np.float32)


def encode_vlad(features: Tensor, centres: Tensor) -> Tensor:
    """Return the VLAD (k * d,) of one image's features (n, d): equation 2.1, intra-normalised, norm 1.

    Words without features, and features that equal their centre, leave zeros.
    """
    if features.shape[1] != centres.shape[1]:
        raise ValueError(f"features have {features.shape[1]} channels, centres {centres.shape[1]}; expected the same")
    # |f - c|^2 less |f|^2, which is the same for every centre
    words = (centres.square().sum(1) - 2 * features @ centres.T).argmin(1)
    residuals = torch.zeros_like(centres).index_add_(0, words, features - centres[words])
    return F.normalize(F.normalize(residuals, dim=1).flatten(), dim=0)


def fit_projection(descriptors: np.ndarray, *, num_dimensions: int = 128, seed: int = 0) -> Projection:
    """Return the PCA with whitening of descriptors (N, D).

    Raises ValueError unless num_dimensions < N and <= D: N points span N - 1 directions, and whitening would blow up
    what lies outside.
    """
    from sklearn.decomposition import PCA

    allowed = min(len(descriptors) - 1, descriptors.shape[1])
    if num_dimensions > allowed:
        raise ValueError(f"num_dimensions is {num_dimensions}; {len(descriptors)} descriptors allow at most {allowed}")
    pca = PCA(num_dimensions, random_state=seed).fit(descriptors)
    components = pca.components_ / np.sqrt(pca.explained_variance_)[:, None]
    return Projection(pca.mean_.astype(np.float32), components.astype(np.float32))


def _unit_rows(values: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.where(norms == 0, 1, norms)).astype(np.float32)


def _batches(images: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    iterator = iter(images)
    while batch := list(islice(iterator, size)):
        yield batch


@dataclass(frozen=True)
class VladEncoder:
    """A network with the vocabularies (one (k, d) array per scale) and the projection learned for it."""

    network: Backbone
    options: VladOptions
    vocabularies: tuple[np.ndarray, ...]
    projection: Projection | None

    def encode(self, images: Iterable[np.ndarray], *, batch_size: int = 16) -> np.ndarray:
        """Return float32 (N, num_dimensions), or the whole VLADs without projection, for uint8 RGB images."""
        device = next(self.network.parameters()).device
        centres = [torch.from_numpy(words).to(device) for words in self.vocabularies]
        encoded = [self._encode_batch(batch, centres) for batch in _batches(images, batch_size)]
        if not encoded:
            raise ValueError("images is empty; expected at least one")
        return np.concatenate(encoded)

    def _encode_batch(self, images: list[np.ndarray], centres: list[Tensor]) -> np.ndarray:
        scales = []
        for scale, words in zip(self.options.scales, centres, strict=True):
            features = _features_at(self.network, images, self.options, scale)
            scales.append(torch.stack([encode_vlad(image, words) for image in features]))
        whole = _unit_rows(torch.cat(scales, 1).cpu().numpy())
        return whole if self.projection is None else self.projection.apply(whole)

    def save(self, path: Path) -> None:
        """Write vocabularies and projection, not the network, as an .npz file."""
        arrays = {f"vocabulary{number}": words for number, words in enumerate(self.vocabularies)}
        if self.projection is not None:
            arrays |= {"mean": self.projection.mean, "components": self.projection.components}
        with Path(path).open("wb") as file:
            np.savez(file, **arrays)


def load_encoder(path: Path, network: Backbone, options: VladOptions) -> VladEncoder:
    """Return the encoder that `VladEncoder.save` wrote, for the same network and options.

    Raises ValueError when the file holds another number of scales or words than `options` says.
    """
    with np.load(path) as arrays:
        found = sorted(name for name in arrays if name.startswith("vocabulary"))
        vocabularies = tuple(arrays[f"vocabulary{number}"] for number in range(len(found)))
        projection = Projection(arrays["mean"], arrays["components"]) if "mean" in arrays else None
    sizes, expected = [len(words) for words in vocabularies], [options.num_words] * len(options.scales)
    dimensions = None if projection is None else len(projection.components)
    if sizes != expected or dimensions != options.num_dimensions:
        raise ValueError(
            f"{path} holds vocabularies of {sizes} words and {dimensions} dimensions; the options ask for "
            f"{expected} words and {options.num_dimensions} dimensions"
        )
    return VladEncoder(network, options, vocabularies, projection)


def fit_encoder(
    network: Backbone, images: Sequence[np.ndarray], options: VladOptions, *, batch_size: int = 16
) -> VladEncoder:
    """Learn vocabularies and projection on the uint8 RGB `images`: one pass for each scale, one for the PCA."""
    vocabularies = tuple(
        fit_vocabulary(
            _sample_features(network, images, options, scale, batch_size),
            num_words=options.num_words,
            seed=options.seed,
        )
        for scale in options.scales
    )
    encoder = VladEncoder(network, options, vocabularies, None)
    if options.num_dimensions is None:
        return encoder
    spread = np.linspace(0, len(images) - 1, min(len(images), options.max_projection_images)).astype(int)
    whole = encoder.encode((images[place] for place in spread), batch_size=batch_size)
    projection = fit_projection(whole, num_dimensions=options.num_dimensions, seed=options.seed)
    return replace(encoder, projection=projection)


def _features_at(network: Backbone, images: list[np.ndarray], options: VladOptions, scale: int) -> Tensor:
    """Return local features (N, n * n, d) of the images at one scale, on the network's device."""
    device = next(network.parameters()).device
    warped = warp_images(images, scale * options.input_size).to(device)
    return local_features(network, warped, layer=options.layer)


def _sample_features(
    network: Backbone, images: Sequence[np.ndarray], options: VladOptions, scale: int, batch_size: int
) -> np.ndarray:
    """Return at most about `options.max_features` local features (M, d), as many from each image."""
    generator = np.random.default_rng(options.seed)
    share = -(-options.max_features // max(1, len(images)))
    drawn = []
    for batch in _batches(images, batch_size):
        for features in _features_at(network, batch, options, scale).cpu().numpy():
            drawn.append(generator.permutation(features)[:share])
    if not drawn:
        raise ValueError("images is empty; expected at least one")
    return np.concatenate(drawn)


def retrieve(
    network: Backbone,
    images: Mapping[str, Path],
    queries: Sequence[RetrievalQuery],
    options: VladOptions,
    *,
    batch_size: int = 16,
) -> RetrievalScore:
    """Learn on the image files (name -> path), describe them and score the queries.

    Files that do not decode (Paris has some) are left out of the database and named in the score.
    """
    readable, unreadable = split_readable(images)
    files = ImageFiles(tuple(readable.values()))
    encoder = fit_encoder(network, files, options, batch_size=batch_size)
    descriptors = dict(zip(readable, encoder.encode(files, batch_size=batch_size), strict=True))
    score = replace(evaluate_retrieval(queries, descriptors), unreadable=unreadable)
    logger.info(
        "mAP %.4f over %d queries and %d images (%d unreadable) with %s",
        score.mean_average_precision,
        len(queries),
        len(readable),
        len(unreadable),
        options,
    )
    return score
