"""The official evaluators' figures by scikit-learn's confusion matrix."""

import numpy as np
from sklearn.metrics import confusion_matrix

from official import Dataset

# detectron2's name of each figure, and that of `sed-serve eval --json`.
FIGURES = {
    "mIoU": "miou",
    "fwIoU": "frequency_weighted_iou",
    "mACC": "mean_accuracy",
    "pACC": "pixel_accuracy",
}


def figures(dataset: Dataset, labels: list[np.ndarray], predictions: list[np.ndarray]) -> dict[str, float]:
    """The figures in percent: SemSegEvaluator's of detectron2, over the categories that some label has.

    Pixels with the ignored value count nowhere; all others count in every picture, false positives included.
    """
    truth = np.concatenate([label.ravel() for label in labels])
    answer = np.concatenate([dataset.folded(prediction).ravel() for prediction in predictions])
    counted = truth != dataset.ignored
    matrix = confusion_matrix(truth[counted], answer[counted], labels=np.arange(dataset.categories)).astype(float)
    right, labelled, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    there = labelled > 0
    iou = right[there] / (labelled + predicted - right)[there]
    share = labelled[there] / labelled.sum()
    return {
        "mIoU": 100 * iou.mean(),
        "fwIoU": 100 * (iou * share).sum(),
        "mACC": 100 * (right[there] / labelled[there]).mean(),
        "pACC": 100 * right.sum() / labelled.sum(),
    }


def compare(found: dict, wanted: dict[str, float], about: str) -> None:
    """Fails unless all figures of a JSON object are the wanted ones, but for rounding of the last bits."""
    for name, key in FIGURES.items():
        assert abs(found[key] - wanted[name]) < 1e-9, f"{about}: {key} is {found[key]}, not {wanted[name]}"
