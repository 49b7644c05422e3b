"""Scan and model to every output of a case; the only package that knows all stages.

A case's outputs are an interface (version 1, named in ``run.json``)::

    OUT/<case>/labels.nii.gz         label map on the scan's own grid
               labels.tsv            names and colours
               probabilities.nii.gz  of each label, along the fourth axis, if asked for
               doubt.nii.gz          how unsure each voxel is, 0 to 1, if asked for
               labels_<form>.dcm     DICOM objects that refer to the scan's files, if asked for; see `DICOM_FORMS`
               meshes/<label>.<ext>  if asked for; VTM is one for all, meshes/surfaces.vtm
               scene.html            scan, labels and surfaces in a browser, if asked for
               run.json              settings, clean-up, scan, times, doubt, and size and digest of every file

They are made in a hidden folder beside it and take their place together: a case is complete or missing, even after a
crash. `volseg.cases.output_table` has a row for each output.
"""
