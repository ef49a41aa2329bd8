"""MobileViT in NumPy alone."""
