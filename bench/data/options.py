"""How a dataset is read, as a user says it beside the dataset's name."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from bench.errors import DataError, UsageError, line


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user says of files, folders and torchvision's datasets.

    Attributes:
        box: lowest and highest value of an input; None: pictures of bytes are divided by 255 and lie in [0, 1], features
            of a table have boxes of their own, from the lowest to the highest value in the table.
        class_names: a text file with a name for each class, one a line.
        label: the column of a table that holds the classes.
        resize: of pictures: the length of the shorter side that they are scaled to.
        crop: of pictures: the side of the square that is cut from the middle.
        data_root: of torchvision's datasets: the folder that holds their files.
        download: of torchvision's datasets: whether to download what is not there.
    """

    box: tuple[float, float] | None = None
    class_names: str | None = None
    label: str | None = None
    resize: int | None = None
    crop: int | None = None
    data_root: str | None = None
    download: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: one is not possible.
        """
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} {value} is not possible; give a number of pixels, 1 or more")
        if self.box is not None:
            low, high = self.box
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise UsageError(f"--box {low:g} {high:g} is not possible; give the lowest value, then a higher one")

    def only(self, what: str, *allowed: str) -> None:
        """Refuse what is given and says nothing of a kind of dataset.

        Args:
            what: the kind, as a message calls it.
            allowed: names of the attributes that apply to it.

        Raises:
            UsageError: another one is given.
        """
        for item in fields(self):
            if getattr(self, item.name) != item.default and item.name not in allowed:
                flag = "--" + item.name.replace("_", "-")
                known = ", ".join("--" + name.replace("_", "-") for name in allowed) or "none of these options"
                raise UsageError(f"{flag} does not apply to {what}; what does: {known}")

    def names(self) -> tuple[str, ...]:
        """The names of the classes; none where no file is given.

        Raises:
            DataError: the file cannot be read, or has no line.
        """
        if self.class_names is None:
            return ()
        try:
            text = Path(self.class_names).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"--class-names {self.class_names} cannot be read: {line(error)}") from error
        found = tuple(name.strip() for name in text.splitlines() if name.strip())
        if not found:
            raise DataError(f"--class-names {self.class_names} is empty; write one name a line")
        return found
