"""The report of a cohort: an index of all cases, the worst first, and a page for each, in files that need no network.

`cohort` makes it. `case_view` gathers what is shown of a case: `sizes` measures its labels, `fit` compares them with
the scan, `doubt` reads how well they are expected to be, `flags` puts what may be wrong into sentences, and `pictures`
draws slices. `rows` has the lines of the index, `ratings` what people have saved, and `pages` fills the templates in
``assets``.
"""

from volseg.reporting.cohort import report

__all__ = ["report"]
