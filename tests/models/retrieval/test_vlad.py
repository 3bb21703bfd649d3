"""VLAD against its definition, table 2.1's sizes, and retrieval of rendered scenes from end to end."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tdn_data.models.backbones import build_backbone
from tdn_data.models.retrieval import vlad
from tdn_data.models.retrieval.image_sets import read_image_set
from tdn_data.models.retrieval.ranking import NUM_READERS
from tdn_data.models.retrieval.vlad import (
    GOOGLENET_LAYERS,
    VGG16_LAYERS,
    encode_together,
    encode_vlad,
    fit_encoders,
    fit_projection,
    fit_vocabulary,
    local_features,
    warp_images,
)
from tdn_data.models.retrieval.vlad_options import VladOptions
from tdn_data.pipeline.progress import Tally

# table 2.1, (side, channels)
GOOGLENET_SIZES = [(56, 64), (28, 192), (28, 256), (28, 480), (14, 512), (14, 512), (14, 512)]
GOOGLENET_SIZES += [(14, 528), (14, 832), (7, 832), (7, 1024)]
VGG16_SIZES = 2 * [(112, 128)] + 3 * [(56, 256)] + 3 * [(28, 512)] + 3 * [(14, 512)]


@pytest.mark.parametrize(
    ("name", "layers", "sizes"),
    [("googlenet", tuple(GOOGLENET_LAYERS.values()), GOOGLENET_SIZES), ("vgg16", VGG16_LAYERS, VGG16_SIZES)],
)
@pytest.mark.parametrize("scale", [1, 2])
def test_layers_have_the_sizes_of_table_2_1(name, layers, sizes, scale):
    with torch.device("meta"):
        features = build_backbone(name).eval().forward_features(torch.empty(1, 3, scale * 224, scale * 224))
    found = [(features[layer].shape[2] // scale, features[layer].shape[1]) for layer in layers]
    assert found == sizes


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn(50, 6, generator=generator), dim=1)


@pytest.fixture
def centres():
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(1)) / 3


def test_vlad_is_equation_2_1_with_each_word_normalised(features, centres):
    words = torch.cdist(features, centres).argmin(1)
    blocks = []
    for number, centre in enumerate(centres):
        total = sum((feature - centre for feature, word in zip(features, words, strict=True) if word == number))
        blocks.append(total / total.norm() if torch.is_tensor(total) else torch.zeros(6))
    expected = torch.cat(blocks)
    torch.testing.assert_close(encode_vlad(features, centres), expected / expected.norm(), rtol=1e-4, atol=1e-5)


def test_vlad_by_hand():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    features = torch.tensor([[3.0, 0.0], [0.0, 4.0], [12.0, 0.0]])
    # word 0: (3, 4), word 1: (2, 0), word 2: nothing; each to norm 1, then the whole
    expected = torch.tensor([0.6, 0.8, 1.0, 0.0, 0.0, 0.0]) / math.sqrt(2)
    torch.testing.assert_close(encode_vlad(features, centres), expected)


def test_features_on_the_centres_leave_nothing(centres):
    assert torch.equal(encode_vlad(centres[[0, 2, 2, 3]], centres), torch.zeros(24))


def test_order_of_the_features_does_not_matter_and_the_norm_is_one(features, centres):
    shuffled = features[torch.randperm(50, generator=torch.Generator().manual_seed(2))]
    torch.testing.assert_close(encode_vlad(shuffled, centres), encode_vlad(features, centres), rtol=1e-4, atol=1e-5)
    assert encode_vlad(features, centres).norm().item() == pytest.approx(1)
    with pytest.raises(ValueError, match="features have 6 channels, centres 5"):
        encode_vlad(features, centres[:, :5])


def test_vocabulary_finds_the_clusters_and_is_reproducible():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(5, 8)).astype(np.float32)
    samples = np.repeat(truth, 40, axis=0) + generator.normal(scale=0.01, size=(200, 8)).astype(np.float32)
    found = fit_vocabulary(samples, num_words=5, seed=3)
    assert found.shape == (5, 8) and found.dtype == np.float32
    assert np.linalg.norm(truth[:, None] - found, axis=2).min(1).max() < 0.02
    assert np.array_equal(found, fit_vocabulary(samples, num_words=5, seed=3))
    with pytest.raises(ValueError, match="num_words is 201; expected at most the number of local features, 200"):
        fit_vocabulary(samples, num_words=201)


def test_projection_whitens():
    generator = np.random.default_rng(0)
    descriptors = generator.normal(size=(300, 6)) * (9, 5, 3, 2, 1, 0.1) + 4
    projection = fit_projection(descriptors, num_dimensions=3)
    raw = (descriptors - projection.mean) @ projection.components.T
    np.testing.assert_allclose(np.cov(raw.T), np.eye(3), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(projection.apply(descriptors), axis=1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="num_dimensions is 3; 3 descriptors allow at most 2"):
        fit_projection(descriptors[:3], num_dimensions=3)
    with pytest.raises(ValueError, match="num_dimensions is 3; the descriptors vary in 2 directions only"):
        fit_projection(np.tile(descriptors[:3], (2, 1)), num_dimensions=3)


def test_images_are_warped_to_a_square_and_normalised():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 15:] = (255, 128, 0)
    warped = warp_images([image, image[:, :, ::-1]], 20)
    assert warped.shape == (2, 3, 20, 20)
    expected = [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225]
    torch.testing.assert_close(warped[0, :, 10, -1], torch.tensor(expected))
    with pytest.raises(ValueError, match="expected uint8"):
        warp_images([image.astype(np.float32)], 20)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_backbone("googlenet", num_classes=2).eval()


def test_local_features_have_norm_one_and_grow_with_the_scale(network):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    one, two = (local_features(network, warp_images([image], size), layer="inception3a") for size in (64, 128))
    assert (one.shape, two.shape) == ((1, 8 * 8, 256), (1, 16 * 16, 256))
    torch.testing.assert_close(two.norm(dim=2), torch.ones(1, 256))
    with pytest.raises(ValueError, match="layer is 'inception9'; layers of GoogLeNet: conv1"):
        local_features(network, warp_images([image], 64), layer="inception9")


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        local_features(build_backbone("resnet18", width=8), torch.zeros(1, 3, 64, 64), layer="res2")


@pytest.fixture(scope="module")
def scenes(holidays_folder):
    """Eight scenes of four views: image name -> path."""
    return dict(read_image_set("holidays", holidays_folder).images)


def fit_encoder(network, images, options):
    """Return the encoder of all of the options' scales together."""
    (encoder,) = fit_encoders(network, images, options, [options.scales])
    return encoder


def encode(encoder, images, **options):
    """Return the images' descriptors (N, D)."""
    return np.concatenate([batch for (batch,) in encode_together([encoder], images, **options)])


def test_encoder_is_reproducible(network, scenes):
    images = [cv2.imread(str(path))[..., ::-1] for path in list(scenes.values())[:12]]
    options = VladOptions(
        layer="maxpool2", scales=(1, 2), num_words=8, num_dimensions=5, input_size=48, max_features=500
    )
    encoder = fit_encoder(network, images, options)
    descriptors = encode(encoder, images)
    assert descriptors.shape == (12, 5) and descriptors.dtype == np.float32
    assert np.array_equal(encode(fit_encoder(network, images, options), images), descriptors)
    np.testing.assert_allclose(encode(encoder, images, batch_size=5), descriptors, atol=1e-3)


def test_whole_descriptors_concatenate_the_scales(network, scenes):
    images = [cv2.imread(str(path))[..., ::-1] for path in list(scenes.values())[:4]]
    options = VladOptions(layer="maxpool2", num_words=8, num_dimensions=None, input_size=48)
    encoder = fit_encoder(network, images, options)
    whole = encode(encoder, images)
    assert whole.shape == (4, 2 * 8 * 192)
    np.testing.assert_allclose(np.linalg.norm(whole[:, : 8 * 192], axis=1), math.sqrt(0.5), rtol=1e-4)
    first = local_features(network, warp_images(images, 48), layer="maxpool2")[0]
    expected = encode_vlad(first, torch.from_numpy(encoder.vocabularies[0])) / math.sqrt(2)
    np.testing.assert_allclose(whole[0, : 8 * 192], expected.numpy(), atol=1e-3)
    with pytest.raises(ValueError, match="images is empty"):
        encode(encoder, [])


SMALL = VladOptions(layer="maxpool2", num_words=4, num_dimensions=3, input_size=48, max_features=400)


def test_scales_encoded_together_are_what_each_gives_alone(network, scenes):
    images = [cv2.imread(str(path))[..., ::-1] for path in list(scenes.values())[:8]]
    sets = [(1,), (2,), (1, 2)]
    encoders = fit_encoders(network, images, SMALL, sets)
    together = [np.concatenate(parts) for parts in zip(*encode_together(encoders, images, batch_size=3), strict=True)]
    for scales, found in zip(sets, together, strict=True):
        alone = encode(fit_encoder(network, images, SMALL.model_copy(update={"scales": scales})), images)
        np.testing.assert_allclose(found, alone, atol=1e-3)


class Counted(Sequence):
    """Random images that are made when they are asked for, and a count of those that are alive."""

    def __init__(self, number):
        self.number, self.alive, self.most = number, 0, 0
        self.lock = threading.RLock()

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        weakref.finalize(image, self.change, -1)
        self.change(1)
        return image

    def change(self, step):
        with self.lock:
            self.alive += step
            self.most = max(self.most, self.alive)


def test_learning_holds_few_images_and_no_more_features_than_asked(network, monkeypatch):
    learned_from = []

    def fit(features, **options):
        learned_from.append(len(features))
        return fit_vocabulary(features, **options)

    monkeypatch.setattr(vlad, "fit_vocabulary", fit)
    images, progress = Counted(60), []
    fit_encoders(network, images, SMALL, [(1, 2)], batch_size=4, tally=Tally(120, lambda *one: progress.append(one)))
    assert images.most <= 2 * NUM_READERS + 2  # those read ahead, the one being warped, the one being handed over
    assert learned_from == [60 * 7] * 2  # ceil(400 / 60) from each image
    last = {what: num_done for num_done, _, what in progress}
    assert last == {
        "maxpool2: drawing local features": 60,
        "maxpool2: k-means": 60,
        "maxpool2: describing for the PCA": 120,
        "maxpool2: PCA": 120,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, r"scales is \(\)"),
        ({"scales": (0, 1)}, r"scales is \(0, 1\)"),
        ({"scales": (2, 2)}, r"scales is \(2, 2\).*none twice"),
        ({"num_words": 0}, "num_words\n.*greater than or equal to 1"),
        ({"num_dimensions": 0}, "num_dimensions\n.*greater than or equal to 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        VladOptions(layer="conv5_1", **options)


def test_a_fine_pattern_is_averaged_where_the_image_shrinks():
    pattern = np.zeros((96, 96, 3), np.uint8)
    pattern[::2, ::2] = pattern[1::2, 1::2] = 255
    warped = warp_images([pattern], 32)[0]
    grey = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert (warped - grey[:, None, None]).abs().max() < 0.2  # a third of a level's deviation, black is 2 away


class Recorded(list):
    """Images, and the places at which they were asked for."""

    def __init__(self, images):
        super().__init__(images)
        self.asked = []

    def __getitem__(self, place):
        self.asked.append(int(place))
        return super().__getitem__(place)


def test_the_pca_is_learned_from_images_spread_over_the_whole_set(network):
    generator = np.random.default_rng(0)
    images = Recorded(generator.integers(0, 256, (13, 60, 60, 3), dtype=np.uint8))
    fit_encoder(network, images, SMALL.model_copy(update={"scales": (1,), "max_projection_images": 4}))
    assert sorted(images.asked[:13]) == list(range(13))
    assert sorted(images.asked[13:]) == [0, 4, 8, 12]


def test_local_features_are_drawn_from_places_all_over_an_image_by_the_seed(network):
    """One of four places of each image is drawn; each image shows another colour in each quarter."""
    colours = np.random.default_rng(0).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    image = np.kron(colours, np.ones((48, 48, 1), np.uint8))
    options = VladOptions(
        layer="maxpool2", scales=(1,), num_words=1, num_dimensions=None, input_size=16, max_features=40
    )
    features = local_features(network, warp_images([image], 16), layer="maxpool2")[0].numpy()
    assert len(features) == 4
    words = [
        fit_encoder(network, [image] * 40, options.model_copy(update={"seed": seed})).vocabularies[0][0]
        for seed in (0, 1)
    ]
    for word in words:  # the mean of what was drawn: each place's share of it is near a quarter
        shares = np.linalg.lstsq(features.T, word, rcond=None)[0]
        assert shares.sum() == pytest.approx(1, abs=1e-3)
        assert (shares > 0.05).all()
    assert not np.allclose(words[0], words[1])
