"""The papers' protocols as the page about them writes them."""

import re
from pathlib import Path

import pytest
import yaml

from tdn_data.models.evaluation.protocol import EvaluateConfig

PAGE = Path(__file__).resolve().parents[3] / "docs/PROTOCOLS.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.S)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_protocol_of_the_page_is_one(block):
    views = EvaluateConfig(**yaml.safe_load(block)["test"]).views()
    assert views.num_clips or views.temporal == "dense"
