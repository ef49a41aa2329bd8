"""Bytes to tensors and back: safetensors, PyTorch's zip, atomic writing, the hub's cache; knows no MobileViT.

- ``files``: read a file whole, within bounds; write files beside their targets and rename them into place.
- ``dtypes``: the number formats of checkpoints, bfloat16 included, as NumPy arrays.
- ``tensor_file``: a weights file read, whatever its format; start here. ``contents``: what comes out.
- ``safetensors_file``, ``torch_zip``, ``torch_pickle``: the two formats, and the pickle inside the second.
- ``state_dict``: the parameters inside a training checkpoint.
- ``hub``: the local cache of the Hugging Face hub, and the download through ``huggingface_hub``.

Explained in tutorials/10-checkpoints.md.
"""
