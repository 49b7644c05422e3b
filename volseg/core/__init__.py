"""The data types that all rooms share, in memory: grids, volumes, label maps, meshes, slices."""
