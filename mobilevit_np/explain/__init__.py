"""Floor 5.5. Reports about networks: what one is made of, what differs. Imports floors below.

One file per report; nothing is imported here, so that each command loads its own only.
"""
