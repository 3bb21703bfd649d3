"""What numbers of runs are called wherever people read them."""

from __future__ import annotations

CURVE_WORDS = {  # what was logged while a network was trained -> what it is called
    "loss": "loss on the training clips",
    "class_loss": "loss of the classes on the training clips",
    "flow_loss": "loss of the flow on the training clips",
    "accuracy": "accuracy on the training clips (not a test)",
    "validation_loss": "loss on the validation videos",
    "validation_accuracy": "accuracy on the validation videos",
    "validation_map": "mean average precision on the validation videos",
    "learning_rate": "learning rate",
}
METRIC_WORDS = {"top1": "top-1", "top5": "top-5", "hit1": "hit@1", "hit5": "hit@5", "mAP": "mAP"}
