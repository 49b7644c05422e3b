"""Training: plan from the dataset, sample and augment slices, optimise, validate, calibrate."""
