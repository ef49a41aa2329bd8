"""Known port mistakes, planted one by one: does the proof notice each? ``python tests/mutants`` prints the answer."""
