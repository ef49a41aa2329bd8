"""From a photo to the network's input: a numerical contract.

``decode`` turns whatever is given into a uint8 RGB array, ``preprocess`` turns that into pixel values as a ``Profile``
says, and ``crop_region`` tells which part of the photo these show. Each way of resizing, cropping and scaling equals
its original bit for bit: transformers' and timm's (which use Pillow) and ml-cvnets' (which used OpenCV).
"""

from .crop import center_crop, crop_start
from .decoding import MAX_PIXELS, PHOTO_CHANNELS, decode, with_channels
from .profiles import PROFILES, Profile, named_profile
from .resize import output_size, resize_photo
from .settings import from_preprocessor_config, from_timm_config, profile_from_settings, to_preprocessor_config
from .steps import Region, crop_region, preprocess, run_steps

__all__ = [
    "MAX_PIXELS",
    "PHOTO_CHANNELS",
    "PROFILES",
    "Profile",
    "Region",
    "center_crop",
    "crop_region",
    "crop_start",
    "decode",
    "from_preprocessor_config",
    "from_timm_config",
    "named_profile",
    "output_size",
    "preprocess",
    "profile_from_settings",
    "resize_photo",
    "run_steps",
    "to_preprocessor_config",
    "with_channels",
]
