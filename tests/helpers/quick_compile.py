"""Flags with which XLA compiles for CPUs faster."""

import importlib.metadata

# The small models of the tests run no slower for them.
XLA_FLAGS = "--xla_backend_optimization_level=0"
# XLA ends the process at a flag that it does not know, as 0.11.2 no longer does this.
_KNOWN_UNTIL = (0, 11)
_version = importlib.metadata.version("jaxlib").split(".")
if tuple(map(int, _version[:2])) < _KNOWN_UNTIL:
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"
