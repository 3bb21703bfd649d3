from collections import Counter

import pytest

from tdn_data.pipeline.datasets.manifest import Manifest, VideoRecord
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.placement import num_shards, shard_number, source_numbers
from tdn_data.pipeline.shards.plan import modality_digest, plan_shards

PARAMETERS = ExtractParameters(frames=FrameParameters(height=32, width=32), videos_per_shard=4)


def names_of(count):
    return [f"v{number}" for number in range(count)]


def manifest_of(names):
    return Manifest("folder", "r", ("c",), False, tuple(VideoRecord(n, n, "train", (0,), 1, n) for n in names))


@pytest.mark.parametrize(("num_videos", "expected"), [(33, 16), (64, 16), (65, 32), (91_223, 32768)])
def test_the_number_of_shards_is_a_power_of_two_that_holds_the_videos(num_videos, expected):
    assert num_shards(names_of(num_videos), 4) == expected


def test_a_few_videos_make_a_few_shards_and_none_is_empty():
    assert (num_shards([], 64), num_shards(names_of(1), 64)) == (1, 1)
    for count in range(1, 200):
        names = names_of(count)
        plans = plan_shards(manifest_of(names), PARAMETERS.model_copy(update={"videos_per_shard": 64}), "rgb")
        assert all(plan.records for plan in plans) and len(plans) <= 8
        if len(plans) < 8:  # twice as many would leave one empty
            assert len({shard_number(name, 2 * len(plans)) for name in names}) < 2 * len(plans)
    assert len(plans) == 8


def test_every_video_is_in_exactly_one_shard():
    names = [f"v{i}" for i in range(100)]
    plans = plan_shards(manifest_of(names), PARAMETERS, "rgb")
    assert Counter(record.video_id for plan in plans for record in plan.records) == Counter(names)
    assert [plan.number for plan in plans] == list(range(32))
    assert len({plan.name for plan in plans}) == 32


def test_the_plan_does_not_depend_on_the_lists_order():
    names = [f"v{i}" for i in range(40)]
    assert plan_shards(manifest_of(names), PARAMETERS, "rgb") == plan_shards(
        manifest_of(names[::-1]), PARAMETERS, "rgb"
    )


def test_removing_a_video_changes_its_shard_alone():
    names = [f"v{i}" for i in range(30)]
    before = plan_shards(manifest_of(names), PARAMETERS, "rgb")
    after = plan_shards(manifest_of(names[1:]), PARAMETERS, "rgb")
    changed = [old.number for old, new in zip(before, after, strict=True) if old.digest != new.digest]
    assert changed == [shard_number("v0", len(before))]


def test_parameters_labels_and_fingerprints_are_in_the_digest():
    names = ["v0"]
    base = plan_shards(manifest_of(names), PARAMETERS, "rgb")[0].digest
    other = PARAMETERS.model_copy(update={"frames": FrameParameters(height=32, width=33)})
    assert plan_shards(manifest_of(names), other, "rgb")[0].digest != base
    for change in ({"labels": ()}, {"fingerprint": "new"}, {"split": "test"}):
        record = VideoRecord(**{**vars(manifest_of(names).records[0]), **change})
        changed = Manifest("folder", "r", ("c",), False, (record,))
        assert plan_shards(changed, PARAMETERS, "rgb")[0].digest != base


def test_digests_and_metadata_of_shards_made_before_short_side_stay_as_they_were():
    sections = {"frames": FrameParameters(height=64, width=64), "flow": FlowParameters(height=64, width=64, bound=5)}
    parameters = ExtractParameters(**sections)
    assert "short_side" not in str(parameters.model_dump())
    assert modality_digest(parameters, "rgb") == "6f46d1d70fea59f5b2115c1d8f0ff4a4"
    assert modality_digest(parameters, "flow") == "39f40e5a02af664443ea0ef16a85ef62"
    short, native = (ExtractParameters(frames=FrameParameters(short_side=side)) for side in (64, None))
    assert modality_digest(short, "rgb") != modality_digest(native, "rgb")
    assert short.model_dump()["frames"]["short_side"] == 64


@pytest.mark.parametrize(("count", "old_count"), [(8, 8), (16, 8), (8, 16), (32, 8), (8, 32)])
def test_a_videos_old_shard_is_among_the_sources_of_its_new_one(count, old_count):
    for name in (f"v{i}" for i in range(200)):
        assert shard_number(name, old_count) in source_numbers(shard_number(name, count), count, old_count)
