"""From a scan and a model to labels: preparation, inference, calibration and clean-up."""
