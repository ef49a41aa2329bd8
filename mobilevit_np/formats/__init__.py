"""Bytes to tensors and back: safetensors, PyTorch's zip, atomic writing, the hub's cache. Nothing here knows MobileViT.

- ``weights_file``: a checkpoint's weights, whole or in shards; start here. ``tensor_file``: a single file, whatever its
  format. ``contents``: what comes out.
- ``safetensors_file``; ``torch_zip`` in a ``zip_archive``, and ``torch_legacy`` from before 1.6, both with a
  ``torch_pickle`` inside, whose tensors are ``torch_tensors``; ``foreign``: what any other file is.
- ``dtypes``: the number formats of checkpoints, bfloat16 included, as NumPy arrays.
- ``files``: read a file whole, within bounds; write files beside their targets and rename them into place.
- ``hub``: the local cache of the Hugging Face hub, and the download through ``huggingface_hub``.

Explained in tutorials/10-checkpoints.md.
"""
