"""The figures of the report as pictures without a browser: for notebooks, and for pages that run no script."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from nightune.models.data.memory_limits import address_space
from nightune.models.errors import InputError
from nightune.tasks.reporting.night.charts_library import VEGA_LITE, vl_convert_module
from nightune.tasks.reporting.night.measure import Spec

SUFFIXES = (".svg", ".png")
ADDRESSES_GIB = 96  # that V8 may reserve, 64 at once, beside those of TensorFlow; with fewer it ends the process
PNG_COLOURS = 128
MARGIN = 8  # pixels: fonts are wider than the library measures them
WIDTH, PANEL_WIDTH = 640, 360  # pixels of a figure, and of one of those that share an axis
_VARIABLE = re.compile(r"var\(--([a-z]+)\)")
_VALUE = re.compile(r"--([a-z]+): ([^;]+);")


@dataclass(frozen=True, repr=False)
class Still:
    """A figure as a Vega-Lite 6 specification with its data; `altair.Chart.from_dict(still.spec)` takes it."""

    spec: Mapping[str, Any]

    @cached_property
    def svg(self) -> str:
        """The figure as an SVG picture."""
        text: str = _drawing_module().vegalite_to_svg(dict(self.spec), vl_version=VEGA_LITE)
        return text

    @cached_property
    def png(self) -> bytes:
        """The figure as a PNG picture, as wide as its specification says: MLflow's pages scale none."""
        from PIL import Image  # noqa: PLC0415 - only stills need it

        drawn = _drawing_module().vegalite_to_png(dict(self.spec), vl_version=VEGA_LITE)
        packed = BytesIO()  # a tenth of the bytes that were drawn
        Image.open(BytesIO(drawn)).convert("RGB").quantize(PNG_COLOURS).save(packed, "PNG", optimize=True)
        return packed.getvalue()

    def save(self, file: str | Path) -> Path:
        """Write the picture to a .svg or .png file, and return its path; InputError for another suffix."""
        path = Path(file)
        refuse_other_picture(path, "file")
        if path.suffix.lower() == ".png":
            path.write_bytes(self.png)
        else:
            path.write_text(self.svg, encoding="utf-8")
        return path

    def __repr__(self) -> str:
        return f"<figure with the keys {', '.join(self.spec)}>"

    def _repr_svg_(self) -> str:
        return self.svg


def refuse_other_picture(file: Path, key: str) -> None:
    """Raise InputError unless the file's suffix is of a picture that can be written."""
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(key, f"{file.name} is no {' or '.join(SUFFIXES)} file; give it one of these suffixes")


def _drawing_module() -> Any:
    """Return the package that draws pictures; InputError where it is missing, or would end the process."""
    allowed = address_space() / 2**30
    if allowed < ADDRESSES_GIB:
        raise InputError(
            "report",
            f"pictures need {ADDRESSES_GIB} GiB of address space, of which hardly any is used, and `ulimit -v` allows "
            f"{allowed:.1f} GiB; draw them where it is not set, or limit the memory by a control group",
        )
    return vl_convert_module()


def still(spec: Spec, style: str, trials: list[Spec]) -> Still:
    """Return a figure of the page as a still: in the light colours of the style sheet, of one width, with its data."""
    colours = dict(_VALUE.findall(style.partition("}")[0]))
    text = _VARIABLE.sub(lambda found: colours[found[1]], json.dumps(spec))
    drawn: Spec = {**json.loads(text), "background": colours["paper"]}
    if "vconcat" in drawn:
        drawn["vconcat"] = [{**panel, "width": PANEL_WIDTH} for panel in drawn["vconcat"]]
        return Still(drawn)
    padding = {**drawn.get("padding", {}), "left": MARGIN, "bottom": MARGIN}
    return Still({**drawn, "width": WIDTH, "padding": padding, "datasets": {"trials": trials}})
