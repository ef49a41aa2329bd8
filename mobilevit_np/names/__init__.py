"""Floor 1. Tables between the parameter names of Hugging Face, timm and ml-cvnets; see ``parameter_names``.

Explained in tutorials/10-checkpoints.md.
"""
