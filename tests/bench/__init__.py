"""A race between the engines, and with what others run MobileViT on: ``python -m tests.bench``, from the checkout.

What makes the figures worth something:

- *One process per contender*, kept alive and asked in turn. Thread pools can't get in each other's way, each has the
  environment that's best for it, and its peak memory is its own.
- *In turn, in shuffled order*: A B C, C A B, ... A machine that slows down for a while slows all of them, and the
  ratios, taken round by round, hardly notice.
- *A new input every call*, drawn before the clock starts; *every answer is checked* against the reference engine's.
- *A turn ends when the contender's threads sleep*: many wait busily for a next call, and would take the cores from
  whoever is asked next. Where calls are short (one image), a turn is two calls, of which the second is timed: it finds
  caches and threads as warm as in a loop of the contender's own.

Files: ``contenders`` (who runs: the one place to add another), ``cells`` (what is run: network, batch, size),
``process`` (a contender's process), ``race`` (turns, checks, ratios), ``networks``, ``whole_command`` and ``folder``
(the three races), ``machine`` (where it was run), ``tables`` (for people and for programs). Peers are imported inside
the functions that load them, in processes of their own: all the rest works without them.
"""
