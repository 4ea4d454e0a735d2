"""What this is, what it is not, and what is here to work with."""

import streamlit as st

from covidxr.app.frame import page
from covidxr.app.widgets import (
    broken_models,
    no_models,
    stored_models,
    test_size,
    training_data,
)
from covidxr.formatting import percent
from covidxr.models.architectures import architecture_title

PURPOSE = "An open workbench for models that tell Normal, COVID, Viral Pneumonia and Lung opacity apart on chest radiographs."

with page("pages/home.py", "covidxr", PURPOSE):
    entries = stored_models()
    cards = [entry.card for entry in entries if entry.card]

    st.page_link(
        "pages/predict.py",
        label="**Predict:** drop a radiograph, read what a model finds",
        icon=":material/radiology:",
    )
    st.page_link(
        "pages/dataset.py",
        label="**Dataset:** see what is in it, and what is wrong with it",
        icon=":material/dataset:",
    )
    st.page_link(
        "pages/train.py",
        label="**Train:** start a run and watch it learn",
        icon=":material/model_training:",
    )
    st.page_link(
        "pages/evaluate.py",
        label="**Evaluate:** click through a model's errors on test",
        icon=":material/grid_on:",
    )
    st.page_link(
        "pages/compare.py",
        label="**Compare:** see which differences are real",
        icon=":material/compare:",
    )

    st.subheader("Models", anchor=False)
    if cards:
        st.dataframe(
            {
                "Model": [card.model_id for card in cards],
                "Network": [architecture_title(card.architecture) for card in cards],
                "Trained on": [training_data(card) for card in cards],
                "Accuracy": [percent(card.metrics["accuracy"], test_size(card)) for card in cards],
                "Macro-F1": [
                    percent(card.metrics["macro_f1"])
                    if "macro_f1" in card.metrics
                    else "not measured"
                    for card in cards
                ],
            },
            hide_index=True,
            alt="The models with their networks, training data and figures on test pictures",
        )
        st.caption(
            "On test pictures that the model never saw, with 95 % intervals; n is their number. "
            "Macro-F1 weighs every class the same, however rare."
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
            alt="The datasets that the models were trained on, with the number of pictures in each split",
        )

    is_, is_not = st.columns(2, gap="medium")
    is_.subheader("What it is", anchor=False)
    is_.markdown(
        "- A place to train, compare, explain and question chest-X-ray classifiers\n"
        "- Every figure with its interval, every model with its limits\n"
        "- Pictures stay on the machine that runs it"
    )
    is_not.subheader("What it is not", anchor=False)
    is_not.markdown(
        "- A medical device, or advice on any patient\n- A test for COVID-19\n- Proven outside the dataset a model was trained on"
    )
