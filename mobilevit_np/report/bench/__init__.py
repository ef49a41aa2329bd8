"""Floor 5.5. A race between the engines, and with what others run MobileViT on. Imports the floors below.

    python -m mobilevit_np bench

What makes the figures worth something:

- *One process per contender*, kept alive and asked in turn over pipes. Thread pools can't get in each other's way,
  each has the environment that's best for it, and its peak memory is its own.
- *In turn, in shuffled order*: A B C, C A B, ... A machine that slows down for a while slows all of them, and the
  ratios, taken round by round, hardly notice.
- *A new input every call*, drawn before the clock starts; *every answer is checked* against the reference engine's.
- *A turn ends when the contender's threads sleep*: many wait busily for a next call, and would take the cores from
  whoever is asked next. Where calls are short (one image), a turn is two calls, of which the second is timed: it finds
  caches and threads as warm as in a loop of the contender's own.

Files: ``cells`` (what is run: network, batch, size), ``contenders`` and ``peers`` (who runs it), ``worker`` and
``process`` (the two ends of the pipe), ``race`` (turns and checks), ``figures`` (medians, ratios, errors),
``networks``, ``whole_command`` and ``folder`` (the three races), ``machine`` (settings), ``tables`` (for people).
Nothing of PyTorch or ONNX is imported but inside the functions of ``peers``, in a contender's own process.
"""
