"""Numbers from `Predictions`: metrics with intervals, calibration, comparison. Knows no torch."""
