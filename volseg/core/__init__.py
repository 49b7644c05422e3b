"""What everything stands on, in memory: grids, volumes, label maps, meshes, slices. Imports no other room of volseg."""
