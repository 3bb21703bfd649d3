"""VLAD against its definition, table 2.1's sizes, and retrieval of rendered scenes from end to end."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.backbones import build_backbone
from models.vlad import (
    GOOGLENET_LAYERS,
    VGG16_LAYERS,
    VladOptions,
    encode_vlad,
    fit_encoder,
    fit_projection,
    fit_vocabulary,
    load_encoder,
    local_features,
    retrieve,
    warp_images,
)
from pipeline.datasets.retrieval import RetrievalQuery

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
    with pytest.raises(ValueError, match="until is 'inception9'"):
        local_features(network, warp_images([image], 64), layer="inception9")


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        local_features(build_backbone("resnet18", width=8), torch.zeros(1, 3, 64, 64), layer="res2")


def scene_views(seed, *, num_views=4, side=112):
    """Views of one textured scene: a random crop, turned by up to 12 degrees, of other brightness."""
    generator = np.random.default_rng(seed)
    scene = sum(
        cv2.resize(generator.uniform(-1, 1, (cells, cells, 3)), (192, 192), interpolation=cv2.INTER_CUBIC) / weight
        for cells, weight in ((4, 2), (12, 1), (40, 1))
    )
    for _ in range(num_views):
        turn = cv2.getRotationMatrix2D((96, 96), generator.uniform(-12, 12), generator.uniform(0.9, 1.2))
        turned = cv2.warpAffine(scene, turn, (192, 192), borderMode=cv2.BORDER_REFLECT)
        top, left = generator.integers(25, 56, 2)
        view = turned[top : top + side, left : left + side] * generator.uniform(0.8, 1.2) * 60 + 128
        yield np.clip(view, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Eight scenes of four views, numbered as Holidays is."""
    folder = tmp_path_factory.mktemp("scenes")
    for scene in range(8):
        for number, view in enumerate(scene_views(scene)):
            cv2.imwrite(str(folder / f"{100000 + 100 * scene + number}.png"), view)
    return {path.stem: path for path in sorted(folder.iterdir())}


OPTIONS = VladOptions("inception3a", num_words=16, num_dimensions=8, input_size=48, max_features=2000)


def scene_queries(names):
    """A query for the first view of each scene, by Holidays' rules: the others of its hundred answer it."""
    groups = {}
    for name in sorted(names):
        groups.setdefault(name[:4], []).append(name)
    return [
        RetrievalQuery(query, query, frozenset(answers), ignored=frozenset([query]))
        for query, *answers in groups.values()
    ]


def test_retrieval_finds_the_other_views_of_a_scene(network, scenes, tmp_path):
    damaged = tmp_path / "100004.jpg"
    damaged.write_bytes(b"\xff\xd8 not a picture")
    images = {**scenes, damaged.stem: damaged}
    score = retrieve(network, images, scene_queries(images), OPTIONS)
    assert score.unreadable == ("100004",) and score.num_missing_positives == 1
    assert len(score.average_precisions) == 8
    # random descriptors give 0.13 here; the lost answer alone costs 0.03
    assert score.mean_average_precision > 0.8


def test_encoder_is_reproducible_and_comes_back_from_its_file(network, scenes, tmp_path):
    images = [cv2.imread(str(path))[..., ::-1] for path in list(scenes.values())[:12]]
    options = VladOptions("maxpool2", scales=(1, 2), num_words=8, num_dimensions=5, input_size=48, max_features=500)
    encoder = fit_encoder(network, images, options)
    descriptors = encoder.encode(images)
    assert descriptors.shape == (12, 5) and descriptors.dtype == np.float32
    assert np.array_equal(fit_encoder(network, images, options).encode(images), descriptors)
    np.testing.assert_allclose(encoder.encode(images, batch_size=5), descriptors, atol=1e-3)
    encoder.save(tmp_path / "encoder.npz")
    again = load_encoder(tmp_path / "encoder.npz", network, options)
    assert np.array_equal(again.encode(images), descriptors)
    other = VladOptions("maxpool2", scales=(1,), num_words=8, num_dimensions=5)
    with pytest.raises(ValueError, match=r"holds vocabularies of \[8, 8\] words and 5 dimensions"):
        load_encoder(tmp_path / "encoder.npz", network, other)


def test_whole_descriptors_concatenate_the_scales(network, scenes):
    images = [cv2.imread(str(path))[..., ::-1] for path in list(scenes.values())[:4]]
    options = VladOptions("maxpool2", num_words=8, num_dimensions=None, input_size=48)
    encoder = fit_encoder(network, images, options)
    whole = encoder.encode(images)
    assert whole.shape == (4, 2 * 8 * 192)
    np.testing.assert_allclose(np.linalg.norm(whole[:, : 8 * 192], axis=1), math.sqrt(0.5), rtol=1e-4)
    first = local_features(network, warp_images(images, 48), layer="maxpool2")[0]
    expected = encode_vlad(first, torch.from_numpy(encoder.vocabularies[0])) / math.sqrt(2)
    np.testing.assert_allclose(whole[0, : 8 * 192], expected.numpy(), atol=1e-3)
    with pytest.raises(ValueError, match="images is empty"):
        encoder.encode([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, r"scales is \(\)"),
        ({"scales": (0, 1)}, r"scales is \(0, 1\)"),
        ({"num_words": 0}, "num_words is 0"),
        ({"num_dimensions": 0}, "num_dimensions is 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        VladOptions("conv5_1", **options)
