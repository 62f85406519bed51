"""What the scripts say on the terminal."""

import logging
import sys

from absl import logging as absl_logging


def start_logging() -> None:
    """Shows this package's messages on stdout, and only warnings of the libraries."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("yolact_jax")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
