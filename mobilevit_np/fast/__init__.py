"""Floor 3. The fast engine."""

from .crew import cores, threads, use_threads
from .network import compile_network

__all__ = ["compile_network", "cores", "threads", "use_threads"]
