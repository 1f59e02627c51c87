"""Geometry of the sphere: the HEALPix grid, resampling, rotations, tangent vectors. Nothing here is learned."""

from deepsphere_codec.sphere.chroma import chroma_down, chroma_up
from deepsphere_codec.sphere.erp import erp_directions
from deepsphere_codec.sphere.erp_grid import ErpGrid, ErpPatch
from deepsphere_codec.sphere.grid import HealpixGrid, dir_to_face_xy, face_xy_to_dir
from deepsphere_codec.sphere.interpolation import Stencil, stencil
from deepsphere_codec.sphere.pixels import ErpPixels, ErpScaler
from deepsphere_codec.sphere.resample import ErpResampler
from deepsphere_codec.sphere.rotation import (
    random_rotation,
    rotation_from_euler,
    rotation_from_vector,
    vector_from_rotation,
)
from deepsphere_codec.sphere.tangent import exp_map, log_map, project
from deepsphere_codec.sphere.viewport import viewport_directions

__all__ = [
    "ErpGrid",
    "ErpPatch",
    "ErpPixels",
    "ErpScaler",
    "ErpResampler",
    "HealpixGrid",
    "Stencil",
    "chroma_down",
    "chroma_up",
    "dir_to_face_xy",
    "erp_directions",
    "exp_map",
    "face_xy_to_dir",
    "log_map",
    "project",
    "random_rotation",
    "rotation_from_euler",
    "rotation_from_vector",
    "stencil",
    "vector_from_rotation",
    "viewport_directions",
]
