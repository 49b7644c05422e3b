"""Surface meshes: STL, PLY, OBJ, VTP, VTM, GLB and 3MF."""
