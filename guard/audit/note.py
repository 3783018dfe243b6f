"""What verifying has to say of a place in the audit."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something about a place in the audit.

    Attributes:
        file: The file.
        line: The line, from 1; None where it is about the file, or what is missing in it.
        what: What it is.
    """

    file: str
    line: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.line else f"{self.file}: {self.what}"
