"""Warnings of the readers, kept with their image in place of printing them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Collector(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.texts:
            self.texts.append(text)


@contextmanager
def collected_notes(*, alone: bool = True) -> Iterator[list[str]]:
    """Collect the warnings that volseg logs while the block runs, each once.

    Parameters
    ----------
    alone : bool
        Whether other handlers, such as those of a program, do not get them.
    """
    texts: list[str] = []
    logger, handler = logging.getLogger("volseg"), _Collector(texts)
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = propagates and not alone
    try:
        yield texts
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
