"""The fast engine: the same checkpoints, the same answers, in NumPy alone, several times faster.

``model.py`` says what is computed; here it's done quickly. Each class names its twin there. Golden files are never made
with this engine.

``network.py`` is a network, ``plan.py`` what it becomes for one input size; ``convolutions.py``, ``dense.py``,
``attention.py``, ``block.py`` and ``heads.py`` are the layers, ``folding.py`` and ``winograd.py`` their weights,
``products.py`` their matrix products, ``crew.py`` the threads.

Two settings hold for the whole process. ``use_threads(2)`` sets the number of threads, and ``threads()`` tells it.
``use_exponential("exp")`` or ``("exp2")`` sets what networks loaded from now on compute exponentials with, and
``exponential().name`` tells it; it's the processor's faster one until it's set, and again after ``use_exponential()``.

Where the time of a NumPy program goes
--------------------------------------
A matrix product runs near the processor's limit. Everything else (a sum, an activation) goes through memory once for
every operation in the formula: a *pass*. A pass over numbers in the core's own cache costs about 0.2 ns a number, from
main memory several times that; a call costs about a microsecond before it does anything. So:

1. *Channels last* (NHWC). A 1x1 convolution, most of what the network does, is then a single matrix product of all
   pixels with the weights, and nothing is moved before or after.
2. *Fold.* Batch norm is a scale and a shift per channel, so it goes into the weights before it; layer norm's go into
   the weights after it, and its mean into those before; minus signs, 1/sqrt(d) and 1/ln 2 come along for free
   (``folding.py``, ``attention.py``).
3. *Strips.* An inverted residual widens its map two- to fourfold and narrows it again. Done strip by strip, from the
   first to the last operation, the wide map never leaves the cache, nor even exists as a whole (``convolutions.py``).
4. *Fewer passes.* SiLU in three, not eight, with the exponential that the processor has (``activations.py``); softmax
   in one, the exponential: no maximum unless the sums show that one is needed, no division of 256 probabilities when
   dividing the 16 gathered numbers does the same, sums as a product with ones (``attention.py``); a depthwise
   convolution in one call of ``einsum``.
5. *Fewer multiplications.* Dense 3x3 convolutions take 16 for 36, in tiles of 2x2 pixels (``winograd.py``); taps of
   atrous ones are multiplied only where they're on the map (``heads.py``).
6. *Small products.* With AVX-512, OpenBLAS is faster with products small enough that it copies nothing first; so larger
   ones are cut into pieces, and one call multiplies them all (``products.py``).
7. *Decide once.* For each input size a plan is made and kept, with all its views and scratch arrays. A call allocates
   little more than its answer (``plan.py``).
8. *Threads.* NumPy releases Python's lock while it computes. Two threads share a photo's strips, or positions in the
   patch, or a batch's photos, with one single-threaded matrix product each (``crew.py``).

What was tried, and what it gave
--------------------------------
Measured on two cores with AVX2 (no AVX-512) unless it says otherwise, NumPy 2.4 with OpenBLAS 0.3, float32; a ratio
above 1 is a gain.

=====================================================================  =========================================
SiLU as u / (1 + exp(u)) of u = -x, against h*tanh(h) + h               1.8 (exp 1.7 ns a number, tanh 3.4)
exp2 for exp, with AVX-512, in SiLU and softmax (0.21 ns, 0.43)        1.05 (small), 1.09 (xx_small, one thread)
the tanh form of SiLU with AVX-512 (0.36 ns a number)                  1.02
depthwise: one einsum over nine shifted views, against 17 passes        1.3 to 1.7; and one call, so the lock is
                                                                        taken once instead of 17 times
stride 2: even and odd columns apart when they're written               taps become contiguous rows; without it,
                                                                        inner loops of one pixel, twice the time
row sums as a product with ones, against ``sum``                        3
division of what is gathered, against that of the probabilities         one pass of two over the scores saved
skipping the maximum where the sums show that none is needed            one subtraction and one ``max`` saved
centered tokens, and sums instead of the lengths of queries and keys    1.1 (xx_small, two threads, measured
                                                                        among noise): fewer calls take the lock
strips of 64 KB, 256 KB, 1 MB (widest array; one thread)                1, 1.5, 1.8: small ones drown in calls
the same with two threads                                               small strips gain nothing at all: the threads
                                                                        keep handing each other the lock
scores in blocks of 128 KB, 1 MB                                        1, 1.15
two threads on one photo, against one                                   1.5 (xx_small, 256x256); with AVX-512, where
                                                                        calls are shorter, 1.4, and 1.6 (small)
each of two threads on a core of its own, one photo after a pause       1.5 (xx_small): Linux lets them wait for the
                                                                        same one; without a pause 1 to 1.1
no meeting between steps that one thread does alone                     1.01
two threads on eight photos                                             1.9: they don't wait for each other
splitting the last, smallest maps among threads too                     0.8 (xx_small's L5): one works alone there
ones beside the values, so that the product gathers and sums            0.9: 17 columns suit the kernels less
projection after the transformer on tokens, not on the map              one copy of the map saved
a plan's memory mapped for itself, against NumPy's allocator            1,000 sizes leave 8 MB more than 100 do; with
                                                                        holes in the heap it was 55
block-diagonal matrix products for the depthwise convolution            not done: 8 channels together cost as much
                                                                        arithmetic as the passes they'd save
Winograd F(2,3) along the rows of the depthwise convolution             not done: 28 passes for 34, where einsum's
                                                                        nine are cheaper
3 x 3 convolutions in tiles, against im2col (with AVX-512)              1.3 to 2; of the whole, 1.06 (small) and 1.03
taps of atrous convolutions where they're on the map, with AVX-512      the head 1.6 and 1.4 (small and xx_small, 256
                                                                        pixels), 1.2 (512)
products in pieces of a million multiplications, with AVX-512           1.1 to 1.4; of the whole, 1.11 (small) and
                                                                        1.15 (xx_small); with kernels for AVX2 0.9 to
                                                                        1, so not there
keys laid out once, as products like them best, with AVX-512            1.0 to 1.02
biases as a row of the weights, on a channel of ones, with AVX-512      not done: 0.99 to 1.01, since matrices of one
                                                                        column more cost what the additions save
depthwise: rows in pieces that fit the first-level cache, AVX-512       1.0
=====================================================================  =========================================

What is left on the table: NumPy's float32 ``exp`` takes 1.4 to 1.7 ns a number without AVX-512, three to four times
what a compiled loop needs, and a third of the time; and products with 16 columns run there at three quarters of the
speed of large ones. On one photo, two threads wait for each other or for Python's lock a hundred times, and waking one
takes some 25 us; two processes, which share no lock, don't slow each other at all. ``python -m tests.bench`` measures
all this again.

Explained in tutorials/12-making-numpy-fast.md.
"""

from .activations import exponential, use_exponential
from .crew import cores, threads, use_threads
from .network import compile_network

__all__ = ["compile_network", "cores", "exponential", "threads", "use_exponential", "use_threads"]
