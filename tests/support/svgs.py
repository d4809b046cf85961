"""What an SVG shows."""

import re
import xml.etree.ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """The texts of an SVG, in order."""
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def markers(svg: str, colour: str) -> int:
    """The number of markers of a colour."""
    return len(re.findall(rf"<use [^>]*fill: var\(--[\w-]+, {colour}\)", svg))
