"""The use cases: the only place where the rooms meet. Torch is loaded inside the functions that need it."""

from covidxr.data.dataset import open_dataset
from covidxr.data.images import read_radiograph
from covidxr.workflows.archive import score_archive
from covidxr.workflows.audits import audit_dataset
from covidxr.workflows.cases import (
    explain_case,
    explain_file,
    padding_sentence,
    predict_case,
    predict_paths,
    randomised_case,
    read_picture,
    reading_warnings,
    sample_phantom,
    stability_of_case,
)
from covidxr.workflows.datasets import SplitData, default_dataset, split_data
from covidxr.workflows.estimates import Estimate, estimate
from covidxr.workflows.evaluation import (
    ModelEvaluation,
    check_dataset,
    compare_stored,
    evaluate_model,
    evaluate_stored,
    evaluation_json,
    stored_predictions,
)
from covidxr.workflows.explanations import audit_maps, map_settings
from covidxr.workflows.external import evaluate_external, external_tests, stored_external
from covidxr.workflows.gates import fit_gate
from covidxr.workflows.launches import export_tensorboard, train_arguments
from covidxr.workflows.lungs import load_segmenter, lung_mask, segmenter_card
from covidxr.workflows.models import list_models, load_model, verify_models, weights_folder
from covidxr.workflows.protocols import ProtocolEffect, measure_protocols, protocol_effect
from covidxr.workflows.reports import report_case, report_file
from covidxr.workflows.runs import is_main_process, reproduce, resume, runs_folder, train
from covidxr.workflows.segmenters import train_lungs
from covidxr.workflows.storing import audit_shortcuts, store_run
from covidxr.workflows.use_log import log_use, logs_uses
from covidxr.workflows.worklist import WorklistRow, list_pictures, score_pictures, score_worklist, sort_worklist, worklist_csv

__all__ = [
    "Estimate",
    "ModelEvaluation",
    "ProtocolEffect",
    "SplitData",
    "WorklistRow",
    "audit_dataset",
    "audit_maps",
    "audit_shortcuts",
    "check_dataset",
    "compare_stored",
    "default_dataset",
    "estimate",
    "evaluate_external",
    "evaluate_model",
    "evaluate_stored",
    "evaluation_json",
    "explain_case",
    "explain_file",
    "export_tensorboard",
    "external_tests",
    "fit_gate",
    "is_main_process",
    "list_models",
    "list_pictures",
    "load_model",
    "load_segmenter",
    "log_use",
    "logs_uses",
    "lung_mask",
    "map_settings",
    "measure_protocols",
    "open_dataset",
    "padding_sentence",
    "predict_case",
    "predict_paths",
    "protocol_effect",
    "randomised_case",
    "read_picture",
    "read_radiograph",
    "reading_warnings",
    "report_case",
    "report_file",
    "reproduce",
    "resume",
    "runs_folder",
    "sample_phantom",
    "score_archive",
    "score_pictures",
    "score_worklist",
    "segmenter_card",
    "sort_worklist",
    "split_data",
    "stability_of_case",
    "store_run",
    "stored_external",
    "stored_predictions",
    "train",
    "train_arguments",
    "train_lungs",
    "verify_models",
    "weights_folder",
    "worklist_csv",
]
