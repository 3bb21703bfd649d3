"""Local convolutional features and VLAD for image retrieval: J. Y.-H. Ng, dissertation (2018), chapter 2.

An image is warped to n x n, runs through a pre-trained network up to one layer, and each place of that layer's map is a
local feature (section 2.3.2). The features, L2-normalised, are encoded against a small k-means vocabulary (2.3.3,
equation 2.1), intra-normalised (Arandjelovic & Zisserman 2013: each word's residual on its own), reduced by PCA with
whitening, and compared by L2 distance (2.3.4). Scale 2 is the same with an input of 2n x 2n (2.4.2); the descriptors of
the scales are concatenated (2.4.4), before the PCA.

Where the text is silent: each scale has its own vocabulary, because the same layer answers differently to each (2.4.2);
a descriptor has norm 1 before and after the PCA, as in the whitening of Jegou & Chum 2012. Nor does it say which images
vocabulary and PCA are learned on; it names no set but the three it searches, and "in instance retrieval generally there
is no training data available" (2.3.3), so that is the database itself. `fit_encoders` learns on the images it is given.

Departures: the chapter's networks are Caffe's; torchvision's GoogLeNet normalises by batch instead of by local
response. Table 2.1's conv2_3 does not exist in VGG-16, whose second group has two convolutions.

However many images there are, only a batch of them and the next few are held; for the k-means `max_features` local
features of each scale, for the PCA the whole descriptors (204,800 numbers for 1,024 channels at two scales) of
`max_projection_images`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Subset

from tdn_data.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone
from tdn_data.models.retrieval.ranking import read_ahead
from tdn_data.models.retrieval.vlad_options import BATCH_SIZE, VladOptions
from tdn_data.pipeline.progress import Tally

# table 2.1: the chapter's name of a layer -> ours, which is after the ReLU and, for the first two, after the pooling
GOOGLENET_LAYERS = {
    "pool1-norm1": "maxpool1",
    "conv2-norm2": "maxpool2",
    **{f"Inception {block}": f"inception{block}" for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")},
}
VGG16_LAYERS = tuple(
    f"conv{group}_{number}" for group, count in ((2, 2), (3, 3), (4, 3), (5, 3)) for number in range(1, count + 1)
)
TABLE_LAYERS = {"googlenet": tuple(GOOGLENET_LAYERS.values()), "vgg16": VGG16_LAYERS}
# section 2.4.4: backbone -> data set -> the layer whose two scales make up the chapter's descriptor
BEST_LAYERS = {
    "googlenet": {"holidays": "inception3a", "oxford5k": "inception5b", "paris6k": "inception4e"},
    "vgg16": {"holidays": "conv4_2", "oxford5k": "conv5_1", "paris6k": "conv5_2"},
}

# takes a scale, a batch's normalised input (B, 3, side, side) and its local features (B, n * n, d)
Watch = Callable[[int, Tensor, Tensor], None]


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

    They are computed on the network's device and stay there; nothing past the layer is computed. Raises ValueError for
    an unknown layer, or a network in training mode, whose batch statistics would mix the images.
    """
    if network.training:
        raise ValueError("network is in training mode; call its eval() first")
    with torch.inference_mode():
        feature_map = network.feature_map(images.to(next(network.parameters()).device), layer)
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

    Raises ValueError unless num_dimensions < N and <= D, and all of them vary: N points span N - 1 directions, fewer
    where some are equal, and whitening would blow up what lies outside.
    """
    from sklearn.decomposition import PCA

    allowed = min(len(descriptors) - 1, descriptors.shape[1])
    if num_dimensions > allowed:
        raise ValueError(f"num_dimensions is {num_dimensions}; {len(descriptors)} descriptors allow at most {allowed}")
    pca = PCA(num_dimensions, random_state=seed).fit(descriptors)
    num_varying = int((pca.singular_values_ > 1e-6 * pca.singular_values_[0]).sum())
    if num_varying < num_dimensions:
        raise ValueError(f"num_dimensions is {num_dimensions}; the descriptors vary in {num_varying} directions only")
    components = pca.components_ / np.sqrt(pca.explained_variance_)[:, None]
    return Projection(pca.mean_.astype(np.float32), components.astype(np.float32))


def _unit_rows(values: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.where(norms == 0, 1, norms)).astype(np.float32, copy=False)


@dataclass(frozen=True)
class VladEncoder:
    """A network with the vocabularies (one (k, d) array per scale) and the projection learned for it."""

    network: Backbone
    options: VladOptions
    vocabularies: tuple[np.ndarray, ...]
    projection: Projection | None

    def join(self, vlads: Mapping[int, np.ndarray]) -> np.ndarray:
        """Return the descriptors (B, D) that VLADs (B, k * d) by scale make together."""
        whole = _unit_rows(np.concatenate([vlads[scale] for scale in self.options.scales], axis=1))
        return whole if self.projection is None else self.projection.apply(whole)


def encode_together(
    encoders: Sequence[VladEncoder],
    images: Sequence[np.ndarray],
    *,
    batch_size: int = BATCH_SIZE,
    watch: Watch | None = None,
) -> Iterator[list[np.ndarray]]:
    """Yield batch by batch what each encoder gives, (B, D); the encoders must come from one call of `fit_encoders`.

    Each image is read once and each scale computed once for all of them; `watch` is shown the features of each scale.
    """
    vocabularies = {
        scale: words
        for encoder in encoders
        for scale, words in zip(encoder.options.scales, encoder.vocabularies, strict=True)
    }
    for vlads in _encode_scales(encoders[0].network, images, encoders[0].options, vocabularies, batch_size, watch):
        yield [encoder.join(vlads) for encoder in encoders]


def fit_encoders(
    network: Backbone,
    images: Sequence[np.ndarray],
    options: VladOptions,
    scale_sets: Sequence[tuple[int, ...]],
    *,
    batch_size: int = BATCH_SIZE,
    tally: Tally | None = None,
) -> tuple[VladEncoder, ...]:
    """Return an encoder for each of `scale_sets` (subsets of the options' scales) out of two passes over the images.

    `tally` counts the images that were read.
    """
    tally = tally or Tally(2 * len(images))
    vocabularies = _fit_vocabularies(network, images, options, batch_size, tally)
    encoders = [
        VladEncoder(
            network, options.model_copy(update={"scales": scales}), tuple(vocabularies[scale] for scale in scales), None
        )
        for scales in scale_sets
    ]
    if options.num_dimensions is None:
        return tuple(encoders)
    vlads = _sample_vlads(network, images, options, vocabularies, batch_size, tally)
    tally.add(0, f"{options.layer}: PCA")
    return tuple(
        replace(
            encoder,
            projection=fit_projection(encoder.join(vlads), num_dimensions=options.num_dimensions, seed=options.seed),
        )
        for encoder in encoders
    )


def _fit_vocabularies(
    network: Backbone,
    images: Sequence[np.ndarray],
    options: VladOptions,
    batch_size: int,
    tally: Tally,
) -> dict[int, np.ndarray]:
    """Return scale -> centres (k, d)."""
    drawn = _sample_features(network, images, options, batch_size, tally)
    tally.add(0, f"{options.layer}: k-means")
    return {
        scale: fit_vocabulary(drawn.pop(scale), num_words=options.num_words, seed=options.seed)
        for scale in options.scales
    }


def _sample_features(
    network: Backbone,
    images: Sequence[np.ndarray],
    options: VladOptions,
    batch_size: int,
    tally: Tally,
) -> dict[int, np.ndarray]:
    """Return scale -> at most about `options.max_features` local features (M, d), as many from each image.

    They go into one array: thousands of small ones, made between the large maps, would keep the heap from shrinking.
    """
    generators = {scale: np.random.default_rng(options.seed) for scale in options.scales}
    drawn: dict[int, np.ndarray] = {}
    done = 0
    for batch in warped_batches(images, options, batch_size):
        for scale, warped in batch.items():
            features = local_features(network, warped, layer=options.layer)
            _, num_places, num_channels = features.shape
            share = min(num_places, -(-options.max_features // len(images)))
            if scale not in drawn:
                drawn[scale] = np.empty((len(images), share, num_channels), np.float32)
            for place, image in enumerate(features, start=done):
                drawn[scale][place] = image[generators[scale].permutation(num_places)[:share]].cpu().numpy()
        done += len(warped)
        tally.add(len(warped), f"{options.layer}: drawing local features")
    return {scale: values.reshape(-1, values.shape[2]) for scale, values in drawn.items()}


def _sample_vlads(
    network: Backbone,
    images: Sequence[np.ndarray],
    options: VladOptions,
    vocabularies: Mapping[int, np.ndarray],
    batch_size: int,
    tally: Tally,
) -> dict[int, np.ndarray]:
    """Return scale -> VLADs (M, k * d) of at most `options.max_projection_images` images."""
    spread = np.linspace(0, len(images) - 1, min(len(images), options.max_projection_images)).astype(int)
    gathered: dict[int, np.ndarray] = {}
    done = 0
    for vlads in _encode_scales(network, Subset(images, spread), options, vocabularies, batch_size):
        for scale, values in vlads.items():
            if scale not in gathered:
                gathered[scale] = np.empty((len(spread), values.shape[1]), np.float32)
            gathered[scale][done : done + len(values)] = values
        done += len(values)
        tally.add(len(values), f"{options.layer}: describing for the PCA")
    return gathered


def _encode_scales(
    network: Backbone,
    images: Sequence[np.ndarray],
    options: VladOptions,
    vocabularies: Mapping[int, np.ndarray],
    batch_size: int,
    watch: Watch | None = None,
) -> Iterator[dict[int, np.ndarray]]:
    """Yield scale -> VLADs (B, k * d) for each of the vocabularies' scales, batch by batch."""
    device = next(network.parameters()).device
    centres = {scale: torch.from_numpy(words).to(device) for scale, words in vocabularies.items()}
    for batch in warped_batches(images, options.model_copy(update={"scales": tuple(vocabularies)}), batch_size):
        vlads = {}
        for scale, warped in batch.items():
            features = local_features(network, warped, layer=options.layer)
            if watch is not None:
                watch(scale, warped, features)
            vlads[scale] = torch.stack([encode_vlad(one, centres[scale]) for one in features]).cpu().numpy()
        yield vlads


def warped_batches(images: Sequence[np.ndarray], options: VladOptions, batch_size: int) -> Iterator[dict[int, Tensor]]:
    """Yield scale -> (B, 3, side, side), normalised, the images themselves let go as soon as they are warped."""
    if not len(images):
        raise ValueError("images is empty; expected at least one")
    sides = {scale: scale * options.input_size for scale in options.scales}
    warped = ({scale: warp_images([image], side) for scale, side in sides.items()} for image in read_ahead(images))
    while batch := list(islice(warped, batch_size)):
        yield {scale: torch.cat([one[scale] for one in batch]) for scale in sides}
