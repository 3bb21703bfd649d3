"""ImageNet weights that others published: which file is which backbone's, its download on first use, its age.

Files lie where torch.hub keeps them, `$TORCH_HOME/hub/checkpoints`, by default below `~/.cache/torch`, so those that
torchvision has fetched serve here too. A name ends in the first digits of the content's SHA-256, and a file of another
content is refused. Files are downloaded over https alone; BN-Inception's is published over http, so it has to be put
there, and is then checked by those digits and by the shape of every parameter.

Sources: torchvision's weights `IMAGENET1K_V1` (github.com/pytorch/vision, `torchvision/models`; the second recipe for
ResNets is younger than the papers); for BN-Inception, which TSN's authors trained, github.com/Cadene/
pretrained-models.pytorch, `pretrainedmodels/models/bninception.py`.
"""

from __future__ import annotations

import logging
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from tdn_data.models.backbones.base import Backbone
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import file_digest

logger = logging.getLogger(__name__)

IMAGENET = "imagenet"  # stands for a backbone's published file wherever a file of weights is asked for
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
TORCHVISION = "https://download.pytorch.org/models"
URLS = {
    "resnet18": f"{TORCHVISION}/resnet18-f37072fd.pth",
    "resnet34": f"{TORCHVISION}/resnet34-b627a593.pth",
    "resnet50": f"{TORCHVISION}/resnet50-0676ba61.pth",
    "resnet101": f"{TORCHVISION}/resnet101-63fe2227.pth",
    "bninception": "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",  # put by hand: no https
    "googlenet": f"{TORCHVISION}/googlenet-1378be20.pth",
    "vgg16": f"{TORCHVISION}/vgg16-397923af.pth",
    "alexnet": f"{TORCHVISION}/alexnet-owt-7be5be79.pth",
}


def published_file(model: VideoNetwork | Backbone) -> Path:
    """Return the file of ImageNet weights for a model's backbones, see `fetch_imagenet`; raise InputError without."""
    if any(isinstance(module, nn.Conv3d) for module in model.modules()):
        raise InputError(f"{type(model).__name__} convolves over time; ImageNet's weights are for images only.")
    names = {backbone.architecture for backbone in model.backbones()}
    if len(names) != 1:
        raise InputError(f"{type(model).__name__} stands on {len(names)} kinds of backbone; give files of weights.")
    return fetch_imagenet(names.pop())


def fetch_imagenet(backbone: str) -> Path:
    """Return a backbone's file of ImageNet weights, downloaded on first use; raise InputError when there is none."""
    if backbone not in URLS:
        raise InputError(f"backbone is {backbone!r}; published weights are known for: {', '.join(URLS)}.")
    return fetch(URLS[backbone])


def fetch(url: str) -> Path:
    """Return the local file of a published one, downloaded on first use: whole and of the right content, or not at all.

    Raises InputError, which names the URL and where the file belongs, when it cannot be downloaded or is another one.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.exists():
        _download(url, path)
    elif not file_digest(path).startswith(_digits(url)):
        raise InputError(f"{path} is not the file published at {url}: its content differs; delete it.", path=path)
    return path


def _download(url: str, path: Path) -> None:
    if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in THIS_MACHINE:
        raise InputError(
            f"{url} is not downloaded: over http anybody on the way can change it, and of its SHA-256 only the first "
            f"{len(_digits(url))} digits are published. Get it in a way you trust and put it at {path}.",
            path=path,
        )
    logger.info("downloading %s to %s", url, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=_digits(url), progress=sys.stderr.isatty())
    except (URLError, ConnectionError, TimeoutError, HTTPException, RuntimeError) as error:  # the last: wrong content
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise InputError(
            f"{url} cannot be downloaded ({reason}); get it on another machine and put it at {path}.", path=path
        ) from error


def _digits(url: str) -> str:
    """Return the digits of the SHA-256 that a file's name ends in, e.g. f37072fd."""
    return url.rpartition("-")[2].removesuffix(".pth")


def in_todays_form(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with every normalisation as torch writes it since 0.4: (C,), not (1, C), and a count of batches.

    Files of BN-Inception and of the first ResNets are older; those of today come back as they are.
    """
    state = dict(state)
    for norm in [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]:
        for part in ("weight", "bias", "running_mean", "running_var"):
            if norm + part in state:
                state[norm + part] = state[norm + part].flatten()
        state.setdefault(f"{norm}num_batches_tracked", torch.tensor(0))
    return state
