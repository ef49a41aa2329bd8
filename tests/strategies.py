"""What Hypothesis draws for the operations: sizes, dtypes, and arrays of order 1."""

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float64, np.float32])
layouts = st.sampled_from(["C", "F", "strided"])


def sizes(most: int, least: int = 1) -> st.SearchStrategy[int]:
    return st.integers(least, most)


class Arrays:
    """Arrays of one dtype from one seed, in one layout of memory."""

    def __init__(self, seed: int, dtype: type, layout: str) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype, self.layout = dtype, layout

    def normal(self, *shape: int) -> np.ndarray:
        return self._lay(self.random.standard_normal(shape))

    def positive(self, *shape: int) -> np.ndarray:
        return self._lay(self.random.uniform(0.3, 2, shape))

    def _lay(self, values: np.ndarray) -> np.ndarray:
        values = values.astype(np.float32).astype(self.dtype)
        if self.layout == "strided" and values.ndim:
            wide = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), self.dtype)
            wide[..., ::2] = values
            return wide[..., ::2]
        return np.asarray(values, order=self.layout if self.layout == "F" else "C")


arrays = st.builds(Arrays, seeds, dtypes, layouts)
