"""The Home page."""

import streamlit as st

from covidxr.app.frame import page
from covidxr.app.widgets import (
    broken_models,
    no_models,
    stored_models,
    test_size,
    training_data,
)
from covidxr.formatting import NO_VALUE, percent
from covidxr.models.architectures import architecture_title

PURPOSE = (
    "An open workbench for training, testing and auditing chest X-ray classifiers (normal, "
    "COVID-19, viral pneumonia, lung opacity)."
)
LINKS = (
    ("predict", "**Predict:** analyze a chest X-ray", "radiology"),
    ("dataset", "**Dataset:** explore, split and quality-check the data", "dataset"),
    ("train", "**Train:** train a model", "model_training"),
    ("evaluate", "**Evaluate:** inspect performance and errors", "grid_on"),
    ("compare", "**Compare:** test differences between models", "compare"),
)

with page("pages/home.py", "covidxr", PURPOSE):
    entries = stored_models()
    cards = [entry.card for entry in entries if entry.card]

    for name, label, icon in LINKS:
        st.page_link(f"pages/{name}.py", label=label, icon=f":material/{icon}:")

    st.subheader("Models", anchor=False)
    if cards:
        st.dataframe(
            {
                "Model": [card.model_id for card in cards],
                "Test accuracy": [
                    percent(card.metrics["accuracy"], test_size(card), brief=True) for card in cards
                ],
                "Macro-F1": [
                    percent(card.metrics["macro_f1"], brief=True)
                    if "macro_f1" in card.metrics
                    else NO_VALUE
                    for card in cards
                ],
                "Network": [architecture_title(card.architecture) for card in cards],
                "Training data": [training_data(card) for card in cards],
            },
            hide_index=True,
            alt="Models with their network, training data and metrics on the test set",
        )
        st.caption(
            "In-collection: training and test images come from the same collections; expect less "
            "elsewhere. 95% CI in parentheses, n: test images. Macro-F1 gives every class equal "
            "weight."
        )
        broken_models(entries)
    else:
        no_models(entries)

    if cards:
        st.subheader("Datasets", anchor=False)
        sizes = {
            training_data(card): {
                split: sum(counts.values()) for split, counts in card.class_counts.items()
            }
            for card in cards
        }
        st.dataframe(
            {
                "Dataset": list(sizes),
                "Training": [f"{size.get('train', 0):,}" for size in sizes.values()],
                "Validation": [f"{size.get('val', 0):,}" for size in sizes.values()],
                "Test": [f"{size.get('test', 0):,}" for size in sizes.values()],
            },
            hide_index=True,
            alt="Datasets that the models were trained on, with the number of images by split",
        )
        st.caption("Number of images.")

    about, limitations = st.columns(2, gap="medium")
    about.subheader("About", anchor=False)
    about.markdown(
        "- Train, compare, explain and stress-test chest X-ray classifiers\n"
        "- Every metric with a confidence interval, every model with its limitations\n"
        "- Images never leave the machine that runs the app"
    )
    limitations.subheader("Limitations", anchor=False)
    limitations.markdown(
        "- Not a medical device; no advice on any patient\n"
        "- Not a test for COVID-19\n"
        "- Not reliable on images from other sources: two of the shipped models were evaluated "
        "externally, and both failed"
    )
