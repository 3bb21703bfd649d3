"""What the papers report on the data sets that are read here, to stand beside the runs of the same data set.

Papers' own networks and what they were trained against, not all of the earlier work that the tables list. Wang et al.
are quoted by their ICLR 2021 submission; CVPR 2021 has one number a little higher (its supplement, Table 2: 52.3 for 8
frames on Something-Something v1). A data set that no paper used, such as the built-in one, is no key of `PUBLISHED`:
nothing stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

RGB, FLOW, BOTH = "RGB", "flow", "RGB + flow"

TDN_1, TDN_2, TDN_3, TDN_4 = (f"Ng & Davis, Table {number}" for number in (1, 2, 3, 4))
WANG_1C, WANG_2, WANG_3, WANG_4 = (f"Wang et al. (ICLR 2021 submission), Table {number}" for number in ("1c", 2, 3, 4))
ZHAO_6, ZHAO_7, ZHAO_8 = (f"Zhao et al., Table {number}" for number in (6, 7, 8))
NG_31, NG_33, NG_34, NG_37, NG_41 = (f"Ng, dissertation, Table {number}" for number in (3.1, 3.3, 3.4, 3.7, 4.1))


@dataclass(frozen=True)
class Published:
    """One row of a paper's table: `numbers` in percent, one for each metric of the data set, None where it has none."""

    method: str
    given: str  # what the network sees
    numbers: tuple[float | None, ...]
    source: str


@dataclass(frozen=True)
class Beside:
    """What was published on a data set: its metrics, by their names in metrics.json, what the numbers are of, rows."""

    metrics: tuple[str, ...]
    note: str
    rows: tuple[Published, ...]


def _rows(source: str, *rows: tuple[str, str, float | tuple[float | None, ...]]) -> tuple[Published, ...]:
    return tuple(
        Published(method, given, numbers if isinstance(numbers, tuple) else (numbers,), source)
        for method, given, numbers in rows
    )


def _streams(source: str, method: str, *numbers: float) -> tuple[Published, ...]:
    """Return a row for each of RGB, flow, and both fused."""
    return _rows(source, *((method, given, number) for given, number in zip((RGB, FLOW, BOTH), numbers, strict=True)))


_FCVID = Beside(
    ("mAP",),
    "Mean average precision over the categories of the test split.",
    (
        *_rows(TDN_3, ("rDNN on a static CNN, motion and audio", "features", 76.0)),
        *_rows(TDN_3, ("ResNet-50 TSN", RGB, 81.8), ("ResNet-50 TDN", RGB, 83.7)),
        *_rows(
            TDN_4,
            ("TDN, differences of the input alone", RGB, 82.7),
            ("TDN, input to conv1", RGB, 82.9),
            ("TDN, input to res2", RGB, 83.3),
            ("TDN, input to res3", RGB, 83.8),
            ("TDN, input to res4", RGB, 83.7),
        ),
    ),
)

_ACT = Beside(
    ("top1",),
    "Accuracy on the test videos of the first task.",
    (
        *_streams(TDN_2, "Two Stream, VGG-16", 66.8, 71.4, 78.7),
        *_streams(TDN_2, "LSTM + Two Stream, VGG-16", 68.7, 72.1, 78.6),
        *_streams(TDN_2, "Actions ~ Transformation, VGG-16", 69.5, 73.7, 80.6),
        *_streams(TDN_2, "ResNet-50 TSN", 72.0, 76.1, 84.3),
        *_streams(TDN_2, "ResNet-50 TDN", 75.9, 77.0, 85.1),
    ),
)

_HMDB51 = Beside(
    ("top1",),
    "Accuracy: the mean of the three splits, in the dissertation's Table 4.1 split 1.",
    (
        *_streams(TDN_1, "ResNet-50 TSN", 51.1, 64.6, 69.6),
        *_streams(TDN_1, "ResNet-50 TDN", 55.5, 64.8, 70.4),
        *_rows(
            WANG_4,
            ("TSN, Inception V2, from ImageNet", RGB, 53.7),
            ("TDN, ResNet-50, 16 frames, from ImageNet and Kinetics", RGB, 76.3),
        ),
        *_rows(
            NG_41,
            ("ResNet-18 from scratch, 2 frames", RGB, 23.9),
            ("Stacked, 2 frames", RGB, 42.4),
            ("ActionFlowNet-2F, flow of FlyingChairs", RGB, 42.6),
            ("ActionFlowNet, 16 frames", RGB, 56.4),
        ),
    ),
)

_UCF101 = Beside(
    ("top1",),
    "Accuracy: the mean of the three splits, in Zhao et al.'s Table 6 and the dissertation's Table 4.1 split 1.",
    (
        *_rows(
            ZHAO_7,
            ("TSN, from ImageNet", RGB, 85.7),
            ("TSN, from ImageNet", "RGB + RGB-Diff", 91.0),
            ("Three branches, from ImageNet", RGB, 91.8),
            ("Three branches, from ImageNet and Kinetics", RGB, 95.9),
        ),
        *_rows(
            ZHAO_6,
            ("Appearance, displacement maps", RGB, 91.2),
            ("Appearance, displacement maps, RGB-Diff", RGB, 91.5),
            ("Appearance, displacement maps, warped differences", RGB, 91.3),
            ("Appearance, TV-L1", BOTH, 94.0),
            ("Appearance, TV-L1, RGB-Diff", BOTH, 93.8),
            ("Appearance, TV-L1, warped differences", BOTH, 94.1),
        ),
        *_rows(
            WANG_4,
            ("TSN, Inception V2, from ImageNet", RGB, 86.4),
            ("TDN, ResNet-50, 16 frames, from ImageNet and Kinetics", RGB, 97.4),
        ),
        *_rows(
            NG_37,
            ("Single frame", RGB, 73.3),
            ("Conv pooling, 120 frames", BOTH, 88.2),
            ("LSTM, 30 frames", BOTH, 88.6),
        ),
        *_rows(
            NG_41,
            ("ResNet-18 from scratch, 2 frames", RGB, 51.3),
            ("Stacked, 2 frames", RGB, 69.6),
            ("ActionFlowNet-2F, flow of FlyingChairs", RGB, 71.0),
            ("ActionFlowNet, 16 frames", RGB, 83.9),
        ),
    ),
)

_SOMETHING_V1 = Beside(
    ("top1", "top5"),
    "Accuracy on the validation list, one clip, centre crop.",
    (
        *_rows(
            WANG_2,
            ("TSN, BN-Inception, 8 frames", RGB, (19.5, None)),
            ("TDN, ResNet-50, 8 frames", RGB, (51.3, 79.3)),
            ("TDN, ResNet-50, 16 frames", RGB, (52.1, 80.5)),
            ("TDN, ResNet-50, 8 and 16 frames", RGB, (54.1, 82.4)),
        ),
        *_rows(
            WANG_1C,
            ("Temporal convolutions alone, 8 frames", RGB, (45.2, None)),
            ("with S-TDM", RGB, (49.5, None)),
            ("with L-TDM", RGB, (48.9, None)),
            ("with both: TDN", RGB, (51.3, None)),
        ),
    ),
)

_SOMETHING_V2 = Beside(
    ("top1", "top5"),
    "Accuracy on the validation list, one clip, centre crop.",
    _rows(
        WANG_2,
        ("TDN, ResNet-50, 8 frames", RGB, (63.1, 88.4)),
        ("TDN, ResNet-50, 16 frames", RGB, (64.4, 89.4)),
        ("TDN, ResNet-50, 8 and 16 frames", RGB, (66.1, 90.3)),
    ),
)

_KINETICS = Beside(
    ("top1", "top5"),
    "Accuracy: Wang et al. on the validation list, TSN with 25 x 10 views, TDN with 10 clips of 3 crops; Zhao et al. "
    "do not say on which list.",
    (
        *_rows(
            WANG_3,
            ("TSN, Inception V3, 25 frames", RGB, (72.5, 90.2)),
            ("TDN, ResNet-50, 8 frames", RGB, (76.6, 92.8)),
            ("TDN, ResNet-50, 16 frames", RGB, (77.5, 93.2)),
            ("TDN, ResNet-50, 8 and 16 frames", RGB, (78.4, 93.6)),
        ),
        *_rows(
            ZHAO_8,
            ("Two-Stream, its RGB stream", RGB, (56.0, 77.3)),
            ("I3D", RGB, (68.4, 88.0)),
            ("Three branches", RGB, (71.5, 89.9)),
        ),
    ),
)

_SPORTS1M = Beside(
    ("hit1", "hit5"),
    "Hits of videos of the test split.",
    (
        *_rows(
            NG_31,
            ("Conv pooling, AlexNet, 120 frames", RGB, (71.1, 89.3)),
            ("Late pooling, AlexNet, 120 frames", RGB, (67.5, 87.2)),
            ("Slow pooling, AlexNet, 120 frames", RGB, (69.7, 88.4)),
            ("Local pooling, AlexNet, 120 frames", RGB, (70.4, 88.9)),
            ("Time-domain convolution, AlexNet, 120 frames", RGB, (67.2, 87.2)),
        ),
        *_rows(
            NG_33,
            ("LSTM, GoogLeNet, 30 frames", RGB, (72.1, 90.4)),
            ("Conv pooling, GoogLeNet, 30 frames", RGB, (71.7, 90.4)),
            ("Conv pooling, GoogLeNet, 120 frames", RGB, (72.3, 90.8)),
        ),
        *_rows(
            NG_34,
            ("LSTM, 30 frames", FLOW, (59.7, 81.4)),
            ("LSTM, 30 frames", BOTH, (73.1, 90.5)),
            ("Conv pooling, 30 frames", FLOW, (44.5, 70.4)),
            ("Conv pooling, 30 frames", BOTH, (71.8, 90.4)),
        ),
    ),
)

PUBLISHED = {
    "act": _ACT,
    "fcvid": _FCVID,
    "hmdb51": _HMDB51,
    "kinetics400": _KINETICS,
    "something-v1": _SOMETHING_V1,
    "something-v1-packed": _SOMETHING_V1,
    "something-v2": _SOMETHING_V2,
    "sports1m": _SPORTS1M,
    "ucf101": _UCF101,
}
