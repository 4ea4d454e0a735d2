"""covidxr: an open workbench for chest-X-ray classifiers. Research and teaching only, not a medical device."""

__version__ = "0.2.0"
