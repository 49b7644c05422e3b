"""volseg: stacks of CT and MR slices to segmentations and 3D surfaces."""

__version__ = "0.1.0"
