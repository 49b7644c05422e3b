"""NIfTI, NRRD and MetaImage files."""
