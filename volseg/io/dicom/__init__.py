"""DICOM: series in and out, segmentations (SEG) and structure sets (RTSTRUCT) in and out.

Stands on `volseg.core` and `volseg.files` alone.
"""
