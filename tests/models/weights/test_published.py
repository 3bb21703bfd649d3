"""Published weights: fetched once from a server, checked, and told apart; files of older kinds."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tdn_data.models import build_model, load_weights
from tdn_data.models.backbones import BACKBONES, build_backbone
from tdn_data.models.backbones.bninception import BNInception
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.train import train
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.models.weights.published import URLS, fetch, in_todays_form, published_file
from tdn_data.pipeline.errors import InputError

NARROW = {"backbone": "resnet18", "width": 8}


@dataclass
class Site:
    """A web server's folder, its address, and the paths asked for so far."""

    folder: Path
    url: str
    requests: list[str]
    server: ThreadingHTTPServer

    def publish(self, state: dict[str, torch.Tensor], stem: str, *, digits: str | None = None, **how: object) -> str:
        """Save a file as its authors would, its hash (or `digits`) in its name; return its URL."""
        path = self.folder / "new.pth"
        torch.save(state, path, **how)
        digits = digits or hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        return f"{self.url}/{path.rename(self.folder / f'{stem}-{digits}.pth').name}"

    def stop(self) -> None:
        """Leave nobody at the address."""
        self.server.shutdown()
        self.server.server_close()


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder; notes what was asked for and prints nothing."""

    def log_message(self, *_: object) -> None:
        self.server.requests.append(self.path)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server on this machine, and an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site = Site(folder, f"http://127.0.0.1:{server.server_port}", server.requests, server)
    yield site
    site.stop()
    thread.join()


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "torch/hub/checkpoints").glob("*"))


def narrow_state(seed: int = 5) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build_backbone("resnet18", width=8).state_dict()


def test_every_backbone_has_a_published_file_with_its_hash_in_the_name():
    assert URLS.keys() == BACKBONES.keys()
    for name, url in URLS.items():
        stem, _, digits = url.rpartition("/")[2].removesuffix(".pth").rpartition("-")
        assert url.endswith(".pth") and len(digits) >= 8 and int(digits, 16)
        assert stem.replace("_", "").removesuffix("-owt") == name


def test_weights_are_downloaded_on_first_use_and_read_from_disk_afterwards(site, tmp_path, monkeypatch):
    state = narrow_state()
    monkeypatch.setitem(URLS, "resnet18", site.publish(state, "resnet18"))
    for _ in range(2):
        network = build_model("tdn", num_classes=4, num_segments=3, **NARROW)
        load_weights(network, "imagenet")
        for part in (network.image, network.difference):
            assert torch.equal(part.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])
        site.stop()  # the second time there is no server
    assert site.requests == [URLS["resnet18"].removeprefix(site.url)]
    assert cached(tmp_path) == [URLS["resnet18"].rpartition("/")[2]]


def test_training_starts_from_the_published_weights(site, coloured, tmp_path, monkeypatch):
    state = narrow_state()
    monkeypatch.setitem(URLS, "resnet18", site.publish(state, "resnet18"))
    config = TrainConfig(
        **{"backbone": "resnet18", "backbone_options": {"width": 8}, "num_segments": 2, "size": 32, "epochs": 1},
        **{"batch_size": 4, "init": ("imagenet",), "fixed_share": 1.0, "mirror": False},
    )
    out = train(coloured, "tdn", config=config, out=tmp_path / "tdn.pt")
    trained = read_checkpoint(out).state_dict
    assert torch.equal(trained["image.conv1.weight"], state["conv1.weight"])  # phase one leaves it as it was
    assert not torch.equal(trained["image.fc.bias"], torch.zeros(2))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_file_is_that_of_the_networks_backbone(backbone, monkeypatch):
    monkeypatch.setattr("tdn_data.models.weights.published.fetch", lambda url: url)
    with torch.device("meta"):
        network = build_model("tdn", num_classes=2, backbone=backbone)
    assert published_file(network) == URLS[backbone]


def test_a_download_of_other_content_is_refused_and_leaves_nothing(site, tmp_path):
    url = site.publish(narrow_state(), "resnet18", digits="0badc0de")
    with pytest.raises(InputError, match=f"{url} cannot be downloaded .*expected .0badc0de.*put it at {tmp_path}"):
        fetch(url)
    assert cached(tmp_path) == []


def test_a_file_of_other_content_on_disk_is_refused(site, tmp_path):
    url = site.publish(narrow_state(), "resnet18")
    path = fetch(url)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{path} is not the file published at {url}: its content differs; delete it"):
        fetch(url)


def test_a_file_that_is_published_without_https_is_not_downloaded_but_read_where_it_was_put(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    network = build_model("tsn", num_classes=4, backbone="bninception")
    place = tmp_path / "checkpoints/bn_inception-52deb4733.pth"
    with pytest.raises(InputError, match=rf"^http://data.* is not downloaded: over http .* put it at {place}\.$"):
        load_weights(network, "imagenet")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(InputError, match=f"{place} is not the file published at .*: its content differs; delete it"):
        load_weights(network, "imagenet")


def test_every_other_file_is_downloaded_over_https():
    assert [name for name, url in URLS.items() if not url.startswith("https://")] == ["bninception"]


@pytest.mark.parametrize(("answer", "reason"), [("none", "refused"), ("missing", "404")])
def test_without_the_file_one_sentence_names_its_url_and_its_place(site, tmp_path, answer, reason):
    url = f"{site.url}/resnet18-f37072fd.pth"
    if answer == "none":
        site.stop()
    place = tmp_path / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    with pytest.raises(InputError, match=rf"^{url} cannot be downloaded \(.*{reason}.*\); .* put it at {place}\.$"):
        fetch(url)
    assert cached(tmp_path) == []


def test_a_published_file_runs_no_code(site, monkeypatch):
    class Harmful:
        def __reduce__(self):
            return pytest.fail, ("the file's code ran",)

    monkeypatch.setitem(URLS, "resnet18", site.publish({"conv1.weight": Harmful()}, "resnet18"))
    with pytest.raises(InputError, match="holds code beside tensors and plain values; it was not run"):
        load_weights(build_model("tsn", num_classes=2, **NARROW), "imagenet")


def test_files_of_the_time_before_torch_1_6_are_read(site, monkeypatch):
    state = {name: value for name, value in narrow_state().items() if "num_batches" not in name}
    url = site.publish(state, "resnet18", _use_new_zipfile_serialization=False)
    monkeypatch.setitem(URLS, "resnet18", url)
    network = build_model("tsn", num_classes=2, **NARROW)
    load_weights(network, "imagenet")
    assert torch.equal(network.backbone.layer4[1].bn2.running_var, state["layer4.1.bn2.running_var"])


def test_bninception_as_its_authors_wrote_it_is_read(tmp_path):
    today = BNInception(num_classes=4).state_dict()
    old = {name: value[None] if "_bn." in name else value for name, value in today.items() if "batches" not in name}
    torch.save(old, tmp_path / "bn_inception.pth")
    network = build_model("tsn", num_classes=4, backbone="bninception")
    load_weights(network, tmp_path / "bn_inception.pth")
    expected = BNInception.weights_for_rgb(today)
    assert all(torch.equal(value, expected[name]) for name, value in network.backbone.state_dict().items())


def test_weights_of_today_stay_as_they_are():
    state = narrow_state()
    assert in_todays_form(state).keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in in_todays_form(state).items())


def test_a_network_of_no_or_several_kinds_of_backbone_is_refused():
    network = build_model("tdn", num_classes=2, num_segments=3, **NARROW)
    network.image.architecture = "resnet34"
    with pytest.raises(InputError, match="TDN stands on 2 kinds of backbone; give files of weights"):
        load_weights(network, "imagenet")
    with pytest.raises(InputError, match="backbone is ''; published weights are known for: resnet18, "):
        load_weights(BNInception(num_classes=2), "imagenet")


def test_a_network_over_time_is_refused_before_anything_is_fetched(site):
    network = build_model("actionflownet", num_classes=2, backbone="resnet18", width=8)
    with pytest.raises(InputError, match=r"ActionFlowNet convolves over time; ImageNet's weights are for images"):
        load_weights(network, "imagenet")
    assert not site.requests
