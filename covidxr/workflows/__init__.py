"""The use cases: the only place where the rooms meet. Torch is loaded inside the functions that need it."""

from covidxr.data.dataset import open_dataset
from covidxr.workflows.cases import explain_case, padding_sentence, predict_case, predict_paths, read_picture, sample_phantom
from covidxr.workflows.datasets import SplitData, default_dataset, split_data
from covidxr.workflows.estimates import Estimate, estimate
from covidxr.workflows.evaluation import (
    ModelEvaluation,
    check_dataset,
    compare_stored,
    evaluate_model,
    evaluate_stored,
    stored_predictions,
)
from covidxr.workflows.launches import export_tensorboard, train_arguments
from covidxr.workflows.models import list_models, load_model, verify_models, weights_folder
from covidxr.workflows.runs import is_main_process, reproduce, resume, runs_folder, train
from covidxr.workflows.storing import store_run

__all__ = [
    "Estimate",
    "ModelEvaluation",
    "SplitData",
    "check_dataset",
    "compare_stored",
    "default_dataset",
    "estimate",
    "evaluate_model",
    "evaluate_stored",
    "explain_case",
    "export_tensorboard",
    "is_main_process",
    "list_models",
    "load_model",
    "open_dataset",
    "padding_sentence",
    "predict_case",
    "predict_paths",
    "read_picture",
    "reproduce",
    "resume",
    "runs_folder",
    "sample_phantom",
    "split_data",
    "store_run",
    "stored_predictions",
    "train",
    "train_arguments",
    "verify_models",
    "weights_folder",
]
