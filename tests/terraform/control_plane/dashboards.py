"""What Cloud Monitoring refuses of a dashboard."""

from __future__ import annotations

from itertools import combinations

from tests.terraform.control_plane.errors import require
from tests.terraform.control_plane.world import Json

_LAYOUTS = ("gridLayout", "mosaicLayout", "rowLayout", "columnLayout")
_TITLES = {"title", "id", "visibilityCondition"}
_MOST_COLUMNS = 48


def check(dashboard: Json) -> None:
    """Refuse a dashboard without a name or one layout, and tiles that overlap or stick out."""
    require(dashboard.get("displayName"), "A dashboard needs a display name.")
    layouts = [layout for layout in _LAYOUTS if layout in dashboard]
    require(len(layouts) == 1, f"A dashboard has one layout: {layouts}")
    mosaic = dashboard.get("mosaicLayout")
    if mosaic:
        _check_mosaic(mosaic)


def _check_mosaic(mosaic: Json) -> None:
    columns = mosaic.get("columns", 0)
    require(1 <= columns <= _MOST_COLUMNS, f"A mosaic has 1 to 48 columns, not {columns}.")
    tiles = mosaic.get("tiles", [])
    for tile in tiles:
        right = tile.get("xPos", 0) + tile.get("width", 0)
        sized = tile.get("width", 0) > 0 and tile.get("height", 0) > 0
        require(sized and right <= columns, f"A tile does not fit: {_place(tile)}")
        widget = set(tile.get("widget", {})) - _TITLES
        require(len(widget) == 1, f"A widget has one content: {sorted(widget)}")
    for one, other in combinations(tiles, 2):
        apart = _before(one, other, "xPos", "width") or _before(one, other, "yPos", "height")
        require(apart, f"Tiles overlap: {_place(one)} and {_place(other)}")


def _before(one: Json, other: Json, start: str, size: str) -> bool:
    first, second = sorted((one, other), key=lambda tile: tile.get(start, 0))
    return bool(first.get(start, 0) + first[size] <= second.get(start, 0))


def _place(tile: Json) -> tuple[int, ...]:
    return tuple(int(tile.get(key, 0)) for key in ("xPos", "yPos", "width", "height"))
