"""The two ways in which a report is not delivered: keep it and try again, or give it up."""


class ReportError(Exception):
    """The base: "cannot deliver the report: cause"."""


class TransientReportError(ReportError):
    """The release API is away, busy, or does not accept our credentials yet: the report is kept.

    `of_its_project`: only this project's reports have to wait, and not for ever (REFUSED_KEPT).
    """

    def __init__(self, message: str, *, of_its_project: bool = False) -> None:
        super().__init__(message)
        self.of_its_project = of_its_project


class PermanentReportError(ReportError):
    """The release API refuses this very report: it is dropped and counted, and the reason logged."""
