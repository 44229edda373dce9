"""An XMP document, read with suspicion and changed as little as possible.

All that we do not change stays as it was: foreign properties, comments, prefixes, the packet's
frame.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from lxml import etree

NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "landmarkml": "urn:x-landmark-ml:xmp:1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
}
_MAX_BYTES = 16 << 20
_MAX_ITEMS = 10_000
_MAX_DESCRIPTIONS = 1_000
_BREAK = re.compile("[\t\n\r]+")
_NOT_IN_XML = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# The frame by which programs find the packet in a file; the id is the standard's.
_BEGIN = 'begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"'
_END = 'end="w"'


class XmpError(ValueError):
    """A document that we do not read: broken, hostile, or not XMP."""


def qualified(name: str) -> str:
    """`dc:subject` as lxml writes it."""
    prefix, _, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def clean_text(text: str) -> str:
    """Text on one line, without characters that XML cannot hold."""
    return _NOT_IN_XML.sub("", _BREAK.sub(" ", text)).strip()


_RDF, _DESCRIPTION, _ABOUT, _LI = map(
    qualified, ("rdf:RDF", "rdf:Description", "rdf:about", "rdf:li")
)
_ARRAYS = tuple(map(qualified, ("rdf:Bag", "rdf:Seq", "rdf:Alt")))


class Xmp:
    """Properties of one XMP document, by names such as `dc:subject`.

    `changed` says whether any was changed, so that a document can be left byte for byte as it is.
    """

    def __init__(self, root: etree._Element, *, declared: bool = False) -> None:
        rdf = root if root.tag == _RDF else root.find(_RDF)
        if rdf is None:
            raise XmpError("it has no rdf:RDF, so it is no XMP")
        if len(rdf.findall(_DESCRIPTION)) > _MAX_DESCRIPTIONS:
            raise XmpError(f"it has more than {_MAX_DESCRIPTIONS:,} rdf:Description")
        self._root, self._rdf, self._declared = root, rdf, declared
        self.changed = False

    @classmethod
    def new(cls) -> Xmp:
        """Make a document without properties."""
        root = etree.Element(qualified("x:xmpmeta"), nsmap={"x": NAMESPACES["x"]})
        rdf = etree.SubElement(root, _RDF, nsmap={"rdf": NAMESPACES["rdf"]})
        used = {prefix: uri for prefix, uri in NAMESPACES.items() if prefix not in ("x", "rdf")}
        etree.SubElement(rdf, _DESCRIPTION, {_ABOUT: ""}, nsmap=used)
        etree.indent(root, " ")
        root.addprevious(etree.ProcessingInstruction("xpacket", _BEGIN))
        root.addnext(etree.ProcessingInstruction("xpacket", _END))
        return cls(root)

    @classmethod
    def parse(cls, content: bytes) -> Xmp:
        """Read a document.

        Raises XmpError for broken XML, for a document type (it could ask for other files or grow
        without end), for more than 16 MiB, and for what is not XMP.
        """
        if len(content) > _MAX_BYTES:
            raise XmpError(f"{len(content):,} bytes are too many for a sidecar")
        # Without their zeros UTF-16 and UTF-32 read as ASCII, so this comes before any parser.
        if b"<!DOCTYPE" in content.replace(b"\0", b""):
            raise XmpError("it has a document type, which no sidecar needs")
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
        )
        try:
            root = etree.fromstring(content, parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise XmpError(f"its XML is broken: {error}") from None
        if root.getroottree().docinfo.internalDTD is not None:
            raise XmpError("it has a document type, which no sidecar needs")
        return cls(root, declared=content.removeprefix(b"\xef\xbb\xbf").startswith(b"<?xml "))

    def to_bytes(self) -> bytes:
        """The document in UTF-8, each part of its frame on a line of its own."""
        before = reversed(list(self._root.itersiblings(preceding=True)))
        parts = [*before, self._root, *self._root.itersiblings()]
        lines = ['<?xml version="1.0" encoding="UTF-8"?>'] if self._declared else []
        lines += [etree.tostring(part, encoding="unicode", with_tail=False) for part in parts]
        return "".join(f"{line}\n" for line in lines).encode()

    def text(self, name: str) -> str | None:
        """Value of a simple property; None when it is absent or empty."""
        for description, element in self._places(name):
            value = description.get(qualified(name)) if element is None else _text(element)
            if value:
                return value
        return None

    def set_text(self, name: str, value: str | None) -> None:
        """Set a simple property; None removes it."""
        if self.text(name) == value:
            return
        self._remove(name)
        if value is not None:
            self._add(name).text = value
        self.changed = True

    def items(self, name: str) -> list[str]:
        """Items of a list property in their order; a simple property is a list of one.

        Raises XmpError for more than 10,000.
        """
        found: list[str] = []
        for description, element in self._places(name):
            if element is None:
                found.append(description.get(qualified(name), ""))
                continue
            array = _array(element)
            found += map(_text, [element] if array is None else array.iterchildren(_LI))
            if len(found) > _MAX_ITEMS:
                raise XmpError(f"{name} has more than {_MAX_ITEMS:,} items: remove some")
        return [item for item in found if item]

    def add_items(self, name: str, items: Iterable[str], kind: str) -> None:
        """Append to a list property; if it is not there, create it as a `Bag` or `Seq`."""
        new = list(items)
        if not new:
            return
        elements = (element for _, element in self._places(name) if element is not None)
        array = next((found for found in map(_array, elements) if found is not None), None)
        if array is None:
            # A list of one may be written as a simple property.
            new = self.items(name) + new
            self._remove(name)
            array = _append(self._add(name), etree.Element(qualified(f"rdf:{kind}")))
        for item in new:
            _append(array, etree.Element(_LI)).text = item
        self.changed = True

    def drop_items(self, name: str, items: Collection[str]) -> None:
        """Remove items from a list property, and the property with its last item."""
        unwanted = frozenset(items)
        for _, element in list(self._places(name)):
            array = None if element is None else _array(element)
            if element is None or array is None:
                continue
            dropped = [li for li in array.iterchildren(_LI) if _text(li) in unwanted]
            for li in dropped:
                _drop(li)
                self.changed = True
            if dropped and not len(array):
                _drop(element)

    def set_items(self, name: str, items: list[str]) -> None:
        """Make a list property of ours hold exactly these items."""
        if self.items(name) != items:
            self._remove(name)
            self.add_items(name, items, "Bag")
            self.changed = True

    @property
    def is_empty(self) -> bool:
        """Whether no property is left."""
        descriptions = self._rdf.findall(_DESCRIPTION)
        return not any(len(found) or set(found.attrib) - {_ABOUT} for found in descriptions)

    def drop_all(self, prefix: str) -> None:
        """Remove every property of a namespace."""
        start = f"{{{NAMESPACES[prefix]}}}"
        for description in self._rdf.findall(_DESCRIPTION):
            names = {*description.attrib, *(child.tag for child in description)}
            for name in names:
                if isinstance(name, str) and name.startswith(start):
                    description.attrib.pop(name, None)
                    for element in description.findall(name):
                        _drop(element)
                    self.changed = True

    def _places(self, name: str) -> Iterator[tuple[etree._Element, etree._Element | None]]:
        """Where a property is: (description, None) as an attribute, or with its element."""
        for description in self._rdf.findall(_DESCRIPTION):
            if qualified(name) in description.attrib:
                yield description, None
            for element in description.findall(qualified(name)):
                yield description, element

    def _add(self, name: str) -> etree._Element:
        """Append an empty property to the first description."""
        description = self._rdf.find(_DESCRIPTION)
        if description is None:
            description = _append(self._rdf, etree.Element(_DESCRIPTION, {_ABOUT: ""}))
        prefix = name.partition(":")[0]
        namespaces = {prefix: NAMESPACES[prefix]}
        return _append(description, etree.Element(qualified(name), nsmap=namespaces))

    def _remove(self, name: str) -> None:
        for description, element in list(self._places(name)):
            if element is None:
                del description.attrib[qualified(name)]
            else:
                _drop(element)


def _text(element: etree._Element) -> str:
    return "".join(element.itertext()).strip()


def _array(element: etree._Element) -> etree._Element | None:
    return next((child for child in element if child.tag in _ARRAYS), None)


def _append(parent: etree._Element, child: etree._Element) -> etree._Element:
    """Append a child on a line of its own."""
    depth = len(list(parent.iterancestors())) + 1
    # Not `len(parent)`, which counts all children.
    last = next(parent.iterchildren(reversed=True), None)
    if last is not None:
        last.tail = "\n" + " " * depth
    else:
        parent.text = "\n" + " " * depth
    parent.append(child)
    child.tail = "\n" + " " * (depth - 1)
    # The parent knows the namespaces already, so the child need not repeat them.
    etree.cleanup_namespaces(child, keep_ns_prefixes=list(NAMESPACES))
    return child


def _drop(element: etree._Element) -> None:
    """Remove an element and the line it was on."""
    parent, before = element.getparent(), element.getprevious()
    if parent is not None:
        if element.getnext() is None and before is not None:
            before.tail = element.tail
        parent.remove(element)
