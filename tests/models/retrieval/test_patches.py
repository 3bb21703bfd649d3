"""The nearest patches: where they come from, that none is missed, and the two pictures of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tdn_data.models.retrieval.image_sets import read_image_set
from tdn_data.models.retrieval.patch_figures import MOSAIC_SIDE, PATCH_SIDE, correspondence_sheet, patch_cluster_sheet
from tdn_data.models.retrieval.patches import PatchQuestion, choose_patches, mosaic, patch_grid
from tdn_data.models.retrieval.ranking import ImageFiles
from tdn_data.models.retrieval.search import check_database, retrieval_network, search_layers
from tdn_data.models.retrieval.vlad import local_features, warp_images
from tdn_data.models.retrieval.vlad_options import VladOptions
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.view.sheet import CAPTION_HEIGHT, FRAME, INK, MARGIN

SIDE = 48
OPTIONS = VladOptions(layer="res3", num_words=4, num_dimensions=None, input_size=SIDE, max_features=400)
QUESTION = PatchQuestion(("100100", "100000"), (("100201", 0.99, 0.0), ("100100", 0.5, 0.5)), num_neighbours=6)


@pytest.fixture(scope="module")
def network():
    return retrieval_network("resnet18", device="cpu")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Three scenes of colours at random; the third image of each is a copy of the first, the second another."""
    root = tmp_path_factory.mktemp("scenes")
    generator = np.random.default_rng(0)
    for scene in range(3):
        one, other = (cv2.resize(generator.integers(0, 256, (16, 16, 3), np.uint8), (SIDE, SIDE)) for _ in range(2))
        for number, image in enumerate((one, other, one)):
            cv2.imwrite(str(root / f"{100000 + 100 * scene + number}.png"), image)
    return check_database(read_image_set("holidays", root))


@pytest.fixture(scope="module")
def found(network, database):
    """What is nearest at scale 1 and at scale 2, with batches that do not divide the set."""
    results = search_layers(network, database, [OPTIONS], patches=QUESTION, batch_size=4)
    assert [one.neighbours is None for one in results] == [False, False, True]
    return [one.neighbours for one in results[:2]]


def image_of(database, name, scale):
    image = ImageFiles((database.images[name],))[0]
    return cv2.resize(image, (scale * SIDE, scale * SIDE), interpolation=cv2.INTER_LINEAR)


def test_patches_lie_around_the_middle_of_their_fields_inside_the_image(network):
    googlenet = retrieval_network("googlenet", device="cpu")
    assert patch_grid(googlenet, "inception5b", 224, 7).starts == (6, 38, 70, 102, 134, 166, 192)
    assert patch_grid(googlenet, "inception3a", 224, 28).starts[:3] == (2, 10, 18)
    grid = patch_grid(network, "res3", SIDE, 6)
    assert (grid.side, grid.starts, grid.corner(7)) == (8, (0, 4, 12, 20, 28, 36), (4, 4))
    assert [grid.place(0, 0), grid.place(0.99, 0), grid.place(0.5, 0.5)] == [0, 30, 21]


def test_a_patch_is_cut_where_its_place_is(network):
    grid = patch_grid(network, "res3", SIDE, 6)
    image = torch.arange(SIDE * SIDE).reshape(1, 1, SIDE, SIDE)
    patches = grid.cut(image)
    assert patches.shape == (1, 36, 8, 8, 1)
    for place in (0, 9, 35):
        top, left = grid.corner(place)
        assert torch.equal(patches[0, place, :, :, 0], image[0, 0, top : top + 8, left : left + 8])


@pytest.mark.parametrize("scale", [1, 2])
def test_the_nearest_of_all_other_images_are_found(network, database, found, scale):
    one = found[scale - 1]
    assert sorted(one.names) == sorted(database.images) and (one.layer, one.scale) == ("res3", scale)
    images = ImageFiles(tuple(database.images[name] for name in one.names))
    features = local_features(network, warp_images(images, scale * SIDE), layer="res3").double()
    num_places = one.grid.num_places
    assert num_places == features.shape[1] == 36 * scale**2
    assert len(one.owners) == 2 * num_places + 2
    assert one.owners[-2:] == (("100201", one.grid.place(0.99, 0)), ("100100", one.grid.place(0.5, 0.5)))
    for row in (0, num_places + 5, len(one.owners) - 2, len(one.owners) - 1):
        name, place = one.owners[row]
        own = one.names.index(name)
        distances = (features - features[own, place]).norm(dim=2)
        distances[own] = torch.inf
        assert one.distances[row] == pytest.approx(distances.flatten().sort().values[:6].numpy(), abs=2e-3)
        assert own not in one.images[row]
        assert distances[one.images[row], one.places[row]].numpy() == pytest.approx(one.distances[row], abs=2e-3)


def test_the_pixels_of_a_neighbour_are_those_of_its_place(database, found):
    for one in found:
        for row in (3, len(one.owners) - 1):
            name, place = one.owners[row]
            for patch, image, at in [
                (one.own[row], name, place),
                *((one.patches[row, k], one.names[one.images[row, k]], int(one.places[row, k])) for k in range(6)),
            ]:
                top, left = one.grid.corner(at)
                whole = image_of(database, image, one.scale).astype(int)
                expected = whole[top : top + one.grid.side, left : left + one.grid.side]
                assert np.abs(patch - expected).max() <= 2


def test_an_image_whose_copy_is_searched_is_put_together_as_it_is(database, found):
    for one in found:
        num_places = one.grid.num_places
        for row, (name, place) in enumerate(one.owners[: 2 * num_places]):
            copy = one.names[one.images[row, 0]]
            assert (copy, one.places[row, 0]) == (f"{name[:-1]}2", place)
        for name in QUESTION.images:
            whole = image_of(database, name, one.scale).astype(int)
            made = mosaic(one, name, 1)
            blank = (made == 255).all(axis=2) & (whole < 250).any(axis=2)
            assert np.abs(made - whole)[~blank].max() <= 2 and blank.mean() < 0.2
            assert np.abs(mosaic(one, name, 5) - whole)[~blank].mean() > 10


def test_the_pictures_show_what_was_found(database, found):
    images = ImageFiles(tuple(database.images[name] for name in QUESTION.images))
    sheet = correspondence_sheet(found, images, title="a title")
    cell = MOSAIC_SIDE + 2 * FRAME + MARGIN
    band = CAPTION_HEIGHT + cell
    assert sheet.shape[0] == 5 * band + MARGIN and sheet.shape[1] >= 2 * cell
    first = MARGIN + FRAME
    for number, one in enumerate(found):
        for column, name in enumerate(QUESTION.images):
            top, left = (1 + 2 * number) * band + CAPTION_HEIGHT + first - MARGIN, column * cell + first
            shown = sheet[top : top + MOSAIC_SIDE, left : left + MOSAIC_SIDE]
            expected = cv2.resize(mosaic(one, name, 1), (MOSAIC_SIDE, MOSAIC_SIDE), interpolation=cv2.INTER_CUBIC)
            assert np.abs(shown[40:180, 40:180].astype(int) - expected[40:180, 40:180]).mean() < 1
    clusters = patch_cluster_sheet(found, title="a title")
    cell = PATCH_SIDE + 2 * FRAME + MARGIN
    framed = (clusters[:, MARGIN] == INK).all(axis=1).sum()
    assert framed == 4 * (PATCH_SIDE + 2 * FRAME) and clusters.shape[1] >= 7 * cell


def test_queries_are_spread_and_spots_drawn_by_the_seed():
    names = [str(number) for number in range(20)]
    one = choose_patches(names, names[::2], num_images=3, num_spots=5, seed=1)
    assert one.images == ("0", "8", "18") and len({name for name, _, _ in one.spots}) == 5
    assert one == choose_patches(names, names[::2], num_images=3, num_spots=5, seed=1)
    assert one.spots != choose_patches(names, names[::2], num_images=3, num_spots=5, seed=2).spots
    few = choose_patches(["a", "b"], ["a", "a"], num_images=4, num_spots=3, seed=0)
    assert few.images == ("a",) and len(few.spots) == 3


def test_one_image_alone_has_no_neighbours():
    with pytest.raises(InputError, match="neighbours of patches are looked for in other images; the set has one only"):
        choose_patches(["a"], ["a"], num_images=1, num_spots=0, seed=0)
