"""Read a folder of images in a subfolder for each class, with or without folders for the splits above these."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.categories import merged_labels
from nightune.models.data.contents import Arrays
from nightune.models.data.files.image_losses import remarks_on_levels, remarks_on_pictures
from nightune.models.data.parts import PART_NAMES
from nightune.models.data.placement import gibibytes, mapped_to_disk, place
from nightune.models.data.source_options import SourceOptions
from nightune.models.errors import InputError
from nightune.models.serving.image_files import CHANNELS, ImageError, decode_image, has_transparency, image_form
from nightune.models.serving.image_rows import scaled

if TYPE_CHECKING:
    import pandas as pd

KEY, SIZE = "data.source", "data.image_size"
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
UNREAD = (".heic", ".heif", ".avif", ".svg", ".jp2", ".dcm", ".raw", ".cr2", ".nef", ".psd")  # images all the same
OF_IMAGES = ("image", "images", "img", "imgs", "photos", "pictures")
OF_MASKS = ("annotation", "annotations", "mask", "masks", "segmentation", "segmentations")
_SPLIT = re.compile(r"(train|training|test|testing|val|valid|validation)[ _-]?(set|data|images?|dir)")
MOST_NAMED = 5


@dataclass(frozen=True)
class _Image:
    file: Path
    label: str
    part: str  # of a fixed split; empty without folders for the splits


def images_in(folder: Path) -> list[Path]:
    """Return the image files in a folder and below it, sorted; hidden ones are left out."""
    return sorted(file for file in _visible(folder) if file.suffix.lower() in SUFFIXES)


def holds_images(folder: Path) -> bool:
    """True if there is an image in the folder or below it."""
    return any(file.suffix.lower() in (*SUFFIXES, *UNREAD) for file in _visible(folder))


def read_images(folder: Path, options: SourceOptions) -> Arrays:
    """Return images (rows, height, width, channels) float32 in [0, 1], and the names of their folders as targets.

    Below folders such as `train` and `test`, the splits are fixed. InputError names the files that cannot be decoded,
    and asks for a size if the images have several.
    """
    images, findings = _listed(folder)
    size, color, remarks = _form(images, options)
    inputs = _decoded(images, size, CHANNELS[color], folder)
    files = [image.file for image in images]
    remarks = [*remarks, *remarks_on_levels(files, KEY), *remarks_on_pictures(files)]
    findings += [_said(images, size, color, inputs), *remarks]
    return Arrays(
        inputs,
        np.array([image.label for image in images]),
        findings=tuple(findings),
        keys=_parts(images),
        form={"images": {"size": list(size), "color": color}},
    )


def _said(images: Sequence[_Image], size: tuple[int, int], color: str, inputs: np.ndarray) -> str:
    classes = len({image.label for image in images})
    of = f"{len(images)} images of {classes} classes are read as {size[0]} × {size[1]} pixels, {color}"
    return f"{of}, {gibibytes(inputs.nbytes)} of floats from 0 to 1"


def _parts(images: Sequence[_Image]) -> "dict[str, pd.Series[Any]]":
    import pandas as pd  # noqa: PLC0415 - half a second, only for fixed splits

    return {"part": pd.Series([image.part for image in images], name="part")} if images[0].part else {}


def _listed(folder: Path) -> tuple[list[_Image], list[str]]:
    """Return all images with their classes, and findings on what is left out."""
    folders = _subfolders(folder)
    parts = {each: PART_NAMES[each.name.lower()] for each in folders if _is_split(each)}
    if folders and not parts and all(each.name.lower() in PART_NAMES for each in folders if holds_images(each)):
        remedy = "move each into a folder that is named by its class, such as train/cat/1.png"
        raise InputError(KEY, f"the images lie in the splits of {folder.name} themselves; {remedy}")
    if parts and "train" not in parts.values():
        named = _named([each.name for each in parts])
        problem = f"{folder.name} holds the splits {named}, and none for training"
        raise InputError(KEY, f"{problem}; name its folder train, or move the folders of classes up to be split here")
    if parts:
        _refuse_beside(folder, [each for each in folders if each not in parts and holds_images(each)], parts)
        images = [image for each, part in parts.items() for image in _of_classes(each, part)]
    else:
        images = list(_of_classes(folder, ""))
    if not images:
        raise InputError(KEY, f"no image is in a folder of its class below {folder}")
    refused = [file for file in _visible(folder) if file.suffix.lower() in UNREAD]
    if refused:
        names = _named([file.relative_to(folder) for file in refused])
        raise InputError(KEY, f"{len(refused)} images are of kinds that are not read ({names}); save them as .png")
    others = [file.relative_to(folder) for file in _visible(folder) if file.suffix.lower() not in SUFFIXES]
    findings = [f"{len(others)} files that are no images are left out ({_named(others)})"] if others else []
    tops = parts or [folder]
    empty = [each.relative_to(folder) for top in tops for each in _subfolders(top) if not images_in(each)]
    findings += [f"no image is in {_named(empty)}"] if empty else []
    return images, [*findings, *_nested(images, folder)]


def _nested(images: Sequence[_Image], folder: Path) -> list[str]:
    """Say that the folders of classes have folders in them, whose names are not read, or names that are nearly alike.

    InputError for masks beside images, and for splits by other names.
    """
    names = {image.label.lower() for image in images}
    if len(names) > 1 and all(map(_SPLIT.fullmatch, names)):
        problem = f"{folder.name} holds folders that look like splits ({_named(sorted(names))})"
        raise InputError(KEY, f"{problem}; name them train, validation and test")
    if names & set(OF_IMAGES) and names & set(OF_MASKS):
        remedy = "return arrays (x, y) from a function, file.py:function, with a mask for each image"
        raise InputError(KEY, f"{folder.name} holds folders of images and of masks, which are no classes; {remedy}")
    inner = sorted({image.file.parent.relative_to(folder) for image in images if image.file.parent.name != image.label})
    remedy = "if they are the classes, move them up"
    said = f"images lie in folders below their class ({_named(inner)}): the class is the upper one; {remedy}"
    alike = merged_labels(Counter(image.label for image in images))
    return [
        *([said] if inner else []),
        *(f"the folders {', '.join(map(repr, texts))} are classes of their own" for texts in alike.values()),
    ]


def _is_split(folder: Path) -> bool:
    """True for a folder of the name of a split with folders of classes in it; `train` may be a class of vehicles."""
    has_classes = any(holds_images(each) for each in _subfolders(folder))
    return folder.name.lower() in PART_NAMES and has_classes


def _of_classes(folder: Path, part: str) -> Iterator[_Image]:
    direct = [each for each in sorted(folder.iterdir()) if each.is_file() and each.suffix.lower() in SUFFIXES]
    if direct:
        problem = f"{len(direct)} images lie in {folder} itself, such as {direct[0].name}"
        remedy = 'or name a table with a column of their paths, and this column: images = "…" in [data]'
        raise InputError(KEY, f"{problem}; move each into a folder that is named by its class, {remedy}")
    for each in _subfolders(folder):
        inner = next((inner for inner in _subfolders(each) if inner.name.lower() in PART_NAMES), None)
        if inner is not None:
            problem = f"{inner.relative_to(folder)} is a split below a class"
            raise InputError(KEY, f"{problem}; put the folders of the splits above those of the classes")
        yield from (_Image(file, each.name, part) for file in images_in(each))


def _refuse_beside(folder: Path, others: Sequence[Path], parts: dict[Path, str]) -> None:
    if others:
        problem = f"{others[0].name!r} is beside the splits {_named([each.name for each in parts])} in {folder.name}"
        raise InputError(KEY, f"{problem}; move it into one of them, or out of the folder")
    repeated = [part for part, count in Counter(parts.values()).items() if count > 1]
    if repeated:
        raise InputError(KEY, f"{folder.name} holds several folders for the split {repeated[0]!r}; leave one")


def _subfolders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _visible(folder: Path) -> list[Path]:
    hidden = ("Thumbs.db", "desktop.ini")
    return [
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.name not in hidden
        and not any(part.startswith((".", "__MACOSX")) for part in file.relative_to(folder).parts)
    ]


def common_size(folder: Path) -> tuple[int, int] | None:
    """Return height and width of the images in a folder and below it, if all have the same."""
    sizes, _ = _forms(images_in(folder))
    return next(iter(sizes)) if len(sizes) == 1 else None


def _forms(files: Sequence[Path]) -> tuple[Counter[tuple[int, int]], Counter[str]]:
    """Count the images of each size and colour, transparent ones as "rgba"; damaged ones are named when decoded."""
    sizes: Counter[tuple[int, int]] = Counter()
    colors: Counter[str] = Counter()
    for file in files:
        with suppress(ImageError, OSError):
            content = file.read_bytes()
            height, width, color = image_form(content)
            sizes[height, width] += 1
            colors["rgba" if has_transparency(content) else color] += 1
    return sizes, colors


def _form(images: Sequence[_Image], options: SourceOptions) -> tuple[tuple[int, int], str, list[str]]:
    """Return the size and the colour: the study's, or those that all images have; and a finding on transparency."""
    if options.image_size and options.image_color:
        return (options.image_size[0], options.image_size[1]), options.image_color, []
    sizes, colors = _forms([image.file for image in images])
    if not options.image_size and len(sizes) > 1:
        (common, count), low, high = sizes.most_common(1)[0], min(sizes), max(sizes)
        ends = f"from {low[0]} × {low[1]} to {high[0]} × {high[1]} (height × width)"
        problem = f"the images have {len(sizes)} sizes, {ends}"
        most = f", and {count} of {len(images)} have {common[0]} × {common[1]}" if count > 1 else ""
        raise InputError(SIZE, f"missing; {problem}{most}: image_size = [64, 64] in [data] resizes them")
    size = options.image_size or next(iter(sizes), (1, 1))
    color = options.image_color or ("grey" if set(colors) <= {"grey"} else "rgb")
    kept = 'image_color = "rgba" in [data] keeps it'
    has_remark = colors["rgba"] and not options.image_color
    remarks = [f"{colors['rgba']} images have transparency, which is left out; {kept}"] if has_remark else []
    return (size[0], size[1]), color, remarks


def _decoded(images: Sequence[_Image], size: tuple[int, int], channels: int, folder: Path) -> np.ndarray:
    shape, kind = (len(images), *size, channels), np.dtype(np.float32)
    is_on_disk = place(int(np.prod(shape, dtype=np.int64)) * kind.itemsize).is_on_disk
    inputs = mapped_to_disk(shape, kind) if is_on_disk else np.empty(shape, kind)
    broken = []
    for row, image in enumerate(images):
        try:
            inputs[row] = scaled(decode_image(image.file.read_bytes(), size, channels))
        except (ImageError, OSError) as error:
            broken.append(f"{image.file.relative_to(folder).as_posix()} ({error})")
    if broken:
        count = "1 file is no image" if len(broken) == 1 else f"{len(broken)} files are no images"
        raise InputError(KEY, f"{count} that can be read: {_named(broken)}; replace or delete them")
    return inputs


def _named(names: Sequence[Any]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(str(name) for name in names[:MOST_NAMED]) + more
